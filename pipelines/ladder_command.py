"""The command that compares ways to make a student."""

from typing import Annotated

import typer

from pipelines.options import AsJson, DryRun, Overrides, RecipeArgument, examples, print_json
from pipelines.recipe_arguments import read_recipe

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
    from pipelines import ladder as climbing
    from pipelines.context import Run
    from pipelines.rungs import rungs_of

    rungs = rungs_of(method or (), start or ())
    with Run(read_recipe(recipe, overrides or ()), dry=dry_run) as run:
        made = climbing.ladder(run, rungs, seeds=seeds, shapes=student or (), concurrent=concurrent)
    if dry_run:
        return print_json(run.outlook) if as_json else None
    if as_json:
        told = {"artifact": made.name, "path": str(made.path), "metrics": made.metrics}
        return print_json(told)
    climbing.show(made)
