"""Which start of the generator learns fastest: a short phase 1 for every combination.

    python tests/benchmarks/starts.py multi30k corpus.dir=DIR --updates 100 --student tiny

All have the same teacher, pseudo-data, batches and seed, and come from the ordinary generator
stage, so that what was run once is not run again. Prints a table of validation loss (nats per
target piece) and BLEU halfway and at the end.
"""

from itertools import product
from typing import Annotated, Any, get_args

import typer

from pipelines.context import Run
from pipelines.generator import generator
from pipelines.options import Overrides, RecipeArgument
from pipelines.recipe_arguments import read_recipe
from wd.config import GroupingConfig, InitialisationConfig, overridden


def _all(config: Any, key: str) -> list[str]:
    return list(get_args(config.model_fields[key].annotation))


def starts(
    recipe: RecipeArgument = "multi30k",
    overrides: Overrides = None,
    updates: Annotated[int, typer.Option(help="Of phase 1.")] = 100,
    student: Annotated[list[str] | None, typer.Option(help="Repeatable; default: all.")] = None,
    sharing: Annotated[list[str] | None, typer.Option(help="Repeatable; default: class.")] = None,
    maps: Annotated[list[str] | None, typer.Option(help="Repeatable; default: all.")] = None,
    layers: Annotated[list[str] | None, typer.Option(help="Repeatable; default: all.")] = None,
    reference: Annotated[bool, typer.Option(help="Also the published code's choices.")] = False,
) -> None:
    """Compare starts of the generator."""
    if updates < 2 or updates % 2:
        raise typer.BadParameter("--updates: give an even number, to look halfway")
    base = read_recipe(recipe, overrides or ())
    short = {
        "generator.training.updates": updates,
        "generator.training.warmup_updates": max(1, updates // 3),
        "generator.training.validate_every": max(1, updates // 2),
        "ray.workers": 0,
    }
    keys = ("student", "grouping.sharing", "initialisation.maps", "initialisation.layers")
    grid = product(
        student or sorted(base.students),
        sharing or _all(GroupingConfig, "sharing")[:1],
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
            history = generator(run).metrics["history"]
        figures = (f"{entry[name]:.2f}" for name in ("loss", "bleu") for entry in history)
        rows.append([*(point.get(key, point.get("preset", "")) for key in keys), *figures])
        print(" ".join(rows[-1]), flush=True)
    halves = [f"{name} at {at}" for name in ("loss", "BLEU") for at in (updates // 2, updates)]
    print("| " + " | ".join(["student", "sharing", "maps", "layers", *halves]) + " |")
    print("|---" * 8 + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    typer.run(starts)
