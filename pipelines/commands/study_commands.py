"""Commands that compare many runs: the ladder and the sweep."""

import json
import shlex
from typing import Annotated

import typer
from rich.console import Console

from pipelines.commands.options import (
    AsJson,
    DryRun,
    Overrides,
    RecipeArgument,
    examples,
    print_json,
)
from pipelines.commands.recipe_arguments import read_recipe

app = typer.Typer()


@app.command(
    epilog=examples(
        "wd ladder quickstart --seeds 3",
        "wd ladder multi30k corpus.dir=DIR --student tiny --method wd --seeds 3",
        "wd ladder multi30k corpus.dir=DIR --seeds 3 --concurrent 2",
        "wd ladder quickstart --start xavier --start reference --dry-run",
    )
)
def ladder(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Students per shape and method: seeds 1 to N.")
    ] = 1,
    student: Annotated[
        list[str] | None,
        typer.Option(help="A student shape of the recipe; repeatable. Default: all."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="scratch, kd, copy or wd; repeatable. Default: all; kd is always made."),
    ] = None,
    start: Annotated[
        list[str] | None,
        typer.Option(
            help="One more wd student, whose generator's maps start so (xavier, identity, svd, "
            "axis) or whose generator is the published code's (reference); repeatable."
        ),
    ] = None,
    concurrent: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Students trained at a time, each in one process with one worker's resources. "
            "Default: one after another, each by all the recipe's workers.",
        ),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Compare scratch, KD, layer copy and WD at equal size and budget.

    Teacher and pseudo-data are made once. A killed ladder goes on with the same command; more
    seeds, students or methods add to what is there.
    """
    from pipelines.context import Run
    from pipelines.studies import ladder as climbing
    from pipelines.studies.rungs import rungs_of

    rungs = rungs_of(method or (), start or ())
    with Run(read_recipe(recipe, overrides or ()), dry=dry_run) as run:
        made = climbing.ladder(run, rungs, seeds=seeds, shapes=student or (), concurrent=concurrent)
    if dry_run:
        return print_json(run.outlook) if as_json else None
    if as_json:
        description = {"artifact": made.name, "path": str(made.path), "metrics": made.metrics}
        return print_json(description)
    climbing.show(made)


@app.command(
    epilog=examples(
        "wd sweep quickstart --trials 4",
        "wd sweep quickstart --space student_shape --space grouping --trials 16 --updates 500",
    )
)
def sweep(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            help="student_shape, grouping, parts or optimization; repeatable. "
            "Default: the first two."
        ),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Different points to try.")] = 8,
    updates: Annotated[
        int | None, typer.Option(min=1, help="Updates of each phase, instead of the recipe's.")
    ] = None,
    concurrent: Annotated[
        int | None, typer.Option(min=1, help="Trials at a time; else as many as there is room for.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the sampling.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Search students by validation BLEU; teacher and pseudo-data are shared."""
    from pipelines.studies import sweep as sweeping

    result = sweeping.sweep(
        read_recipe(recipe, overrides or ()),
        space or ["student_shape", "grouping"],
        trials=trials,
        updates=updates,
        concurrent=concurrent,
        seed=seed,
    )
    if as_json:
        return print_json(result)
    Console().print(sweeping.table(result))
    best = result["best"]
    changes = [f"{key}={json.dumps(value)}" for key, value in best["overrides"].items()]
    again = shlex.join(["wd", "run", recipe, *(overrides or ()), *changes])
    print(f"best: {best['key']}, {best['metrics']['bleu']:.2f} BLEU. To make it: {again}")
