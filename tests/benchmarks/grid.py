"""Which choices make a generator learn fastest: a short WD for every combination of values.

    python tests/benchmarks/grid.py multi30k corpus.dir=DIR --updates 100 \\
        --vary student=tiny,small --vary generator.initialisation.maps=axis,svd

All have the same teacher, pseudo-data, batches and seeds, and come from the ordinary stages, so
that what was run once is not run again. Prints a table of validation loss (nats per target piece)
and BLEU after each phase, means over the seeds, the best first of each value of the first key.
"""

from collections.abc import Mapping
from itertools import product
from statistics import mean
from typing import Annotated, Any

import typer
import yaml

from pipelines.commands.options import Overrides, RecipeArgument
from pipelines.commands.recipe_arguments import read_recipe
from pipelines.context import Run
from pipelines.stages.generator import generator
from pipelines.stages.student import student
from pipelines.studies.rungs import seeded
from wd.config import Recipe, overridden

FIGURES = ("loss", "bleu")


def grid(
    recipe: RecipeArgument = "multi30k",
    overrides: Overrides = None,
    vary: Annotated[list[str] | None, typer.Option(help="KEY=VALUE,VALUE...; repeatable.")] = None,
    updates: Annotated[
        int | None, typer.Option(help="Of each phase, a third to warm up; default: the recipe's.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Counted from 1.")] = 1,
) -> None:
    """Compare choices of the generator and of its training."""
    base = overridden(read_recipe(recipe, overrides or ()), {"ray.workers": 0} | _short(updates))
    axes = dict(one.split("=", 1) for one in vary or ())
    values = [yaml.safe_load(f"[{listed}]") for listed in axes.values()]
    rows = []
    for point in product(*values):
        changes = dict(zip(axes, point, strict=True))
        runs = [_figures(base, changes | seeded(seed)) for seed in range(1, seeds + 1)]
        rows.append([*map(str, point), *(f"{mean(same):.2f}" for same in zip(*runs, strict=True))])
        print(" ".join(rows[-1]), flush=True)
    last = [f"{name} after phase {phase}" for name in ("loss", "BLEU") for phase in (1, 2)]
    heads = [*(key.rpartition(".")[2].replace("_", " ") for key in axes), *last]
    print("| " + " | ".join(heads) + " |")
    print("|---" * len(heads) + "|")
    for row in sorted(rows, key=lambda row: (row[:1], -float(row[-1]))):
        print("| " + " | ".join(row) + " |")


def _short(updates: int | None) -> dict[str, Any]:
    if updates is None:
        return {}
    short = {"updates": updates, "validate_every": updates, "warmup_updates": max(1, updates // 3)}
    phases = ("generator.training", "fine_tuning")
    return {f"{phase}.{key}": value for phase in phases for key, value in short.items()}


def _figures(base: Recipe, changes: Mapping[str, Any]) -> list[float]:
    """Return loss after phases 1 and 2, then BLEU."""
    with Run(overridden(base, changes)) as run:
        phases = [one.metrics["validation"] for one in (generator(run), student(run, "wd"))]
    return [phase[name] for name in FIGURES for phase in phases]


if __name__ == "__main__":
    typer.run(grid)
