"""Which start and sharing of the generator learn fastest: a short WD for every combination.

    python tests/benchmarks/starts.py multi30k corpus.dir=DIR --updates 100 --student tiny

All have the same teacher, pseudo-data, batches and seed, and come from the ordinary stages, so that
what was run once is not run again. Prints a table of validation loss (nats per target piece) and
BLEU after each phase, best student first.
"""

from itertools import product
from typing import Annotated, Any, get_args

import typer

from pipelines.context import Run
from pipelines.generator import generator
from pipelines.options import Overrides, RecipeArgument
from pipelines.recipe_arguments import read_recipe
from pipelines.student import student as fine_tuned
from wd.config import GroupingConfig, InitialisationConfig, overridden


def _all(config: Any, key: str) -> list[str]:
    return list(get_args(config.model_fields[key].annotation))


def starts(
    recipe: RecipeArgument = "multi30k",
    overrides: Overrides = None,
    updates: Annotated[int, typer.Option(help="Of each phase.")] = 100,
    student: Annotated[list[str] | None, typer.Option(help="Repeatable; default: all.")] = None,
    sharing: Annotated[list[str] | None, typer.Option(help="Repeatable; default: class.")] = None,
    maps: Annotated[list[str] | None, typer.Option(help="Repeatable; default: all.")] = None,
    layers: Annotated[list[str] | None, typer.Option(help="Repeatable; default: all.")] = None,
    width_maps: Annotated[
        list[str] | None, typer.Option(help="Repeatable; default: changed_classes.")
    ] = None,
    reference: Annotated[bool, typer.Option(help="Also the published code's choices.")] = False,
) -> None:
    """Compare starts of the generator."""
    base = read_recipe(recipe, overrides or ())
    short: dict[str, Any] = {"ray.workers": 0}
    for phase in ("generator.training", "fine_tuning"):
        short |= {f"{phase}.updates": updates, f"{phase}.validate_every": updates}
        short[f"{phase}.warmup_updates"] = max(1, updates // 3)
    keys = ("student", "grouping.sharing", "grouping.width_maps")
    keys += ("initialisation.maps", "initialisation.layers")
    grid = product(
        student or sorted(base.students),
        sharing or _all(GroupingConfig, "sharing")[:1],
        width_maps or _all(GroupingConfig, "width_maps")[:1],
        maps or _all(InitialisationConfig, "maps"),
        layers or _all(InitialisationConfig, "layers"),
    )
    points = [dict(zip(keys, values, strict=True)) for values in grid]
    if reference:
        names = student or sorted(base.students)
        points += [{"student": name, "preset": "reference"} for name in names]
    rows = []
    for point in points:
        changes = {
            key if key == "student" else f"generator.{key}": value for key, value in point.items()
        }
        with Run(overridden(base, short | changes)) as run:
            phases = [stage(run).metrics["validation"] for stage in (generator, fine_tuned)]
        figures = [f"{phase[name]:.2f}" for name in ("loss", "bleu") for phase in phases]
        rows.append([*(point.get(key, point.get("preset", "")) for key in keys), *figures])
        print(" ".join(rows[-1]), flush=True)
    last = [f"{name} after phase {phase}" for name in ("loss", "BLEU") for phase in (1, 2)]
    print("| " + " | ".join(["student", "sharing", "width maps", "maps", "layers", *last]) + " |")
    print("|---" * 9 + "|")
    for row in sorted(rows, key=lambda row: (row[0], -float(row[-1]))):
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    typer.run(starts)
