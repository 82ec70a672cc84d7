"""Commands that compare many runs: the ladder and the sweep."""

import sys
from typing import Annotated

import typer

from pipelines.commands.options import (
    AsJson,
    DryRun,
    LogForm,
    Overrides,
    RecipeArgument,
    described,
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
        "wd ladder quickstart --set kd:fine_tuning.dropout=0.1 fine_tuning.early_stopping=5",
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
    own: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="RUNG:KEY=VALUE",
            help="A setting of one rung alone, or of one shape's (SHAPE/RUNG:KEY=VALUE); "
            "repeatable. Updates in total stay the same.",
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
    log: LogForm = None,
) -> None:
    """Compare scratch, KD, layer copy and WD at equal size and budget.

    Teacher and pseudo-data are made once. A killed ladder goes on with the same command; more
    seeds, students or methods add to what is there. With `fine_tuning.early_stopping` each student
    trains until it stops improving.
    """
    from pipelines.stages.hops import open_run
    from pipelines.studies import ladder as climbing
    from pipelines.studies.rungs import rungs_of

    rungs = rungs_of(method or (), start or ())
    with open_run(read_recipe(recipe, overrides or ()), dry=dry_run) as run:
        made = climbing.ladder(
            run, rungs, seeds=seeds, shapes=student or (), own=own or (), concurrent=concurrent
        )
    if dry_run:
        return print_json(run.outlook) if as_json else None
    if as_json:
        return print_json(described(made))
    climbing.show(made)


@app.command(
    epilog=examples(
        "wd sweep quickstart --max-trials 6",
        "wd sweep multi30k corpus.dir=DIR search.min_speed_up=2.5 --max-trials 24 --updates 200",
        "wd sweep quickstart --space joint --max-trials 16 --time-budget 90",
        "wd sweep quickstart --space mine.yaml search.algorithm=grid",
    )
)
def sweep(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            help="student_shape, grouping, parts, optimization, joint (all of them), or FILE.yaml "
            "with a space of your own; repeatable. Default: the first two."
        ),
    ] = None,
    max_trials: Annotated[
        int | None,
        typer.Option("--max-trials", "--trials", min=1, help="Trials in all: search.max_trials."),
    ] = None,
    time_budget: Annotated[
        float | None, typer.Option(min=0.01, help="Minutes to search: search.time_budget.")
    ] = None,
    updates: Annotated[
        int | None, typer.Option(min=1, help="Updates of each phase, instead of the recipe's.")
    ] = None,
    concurrent: Annotated[
        int | None, typer.Option(min=1, help="Trials at a time; else as many as there is room for.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the sampling.")] = 1,
    as_json: AsJson = False,
    log: LogForm = None,
) -> None:
    """Search students for quality and speed, under the recipe's limits (section `search`).

    The recipe as it is and its other students are tried first. Teacher and pseudo-data are shared.
    A killed sweep goes on with the same command; more trials add to a finished one.
    """
    from pipelines.studies import sweep as sweeping
    from pipelines.studies.sweep_request import Request
    from wd.config import overridden

    given = [recipe, *(overrides or ())]
    spaces = space or ["student_shape", "grouping"]
    options = {"search.max_trials": max_trials, "search.time_budget": time_budget}
    chosen = {key: value for key, value in options.items() if value is not None}
    made, folder = sweeping.sweep(
        overridden(read_recipe(recipe, overrides or ()), chosen),
        Request(
            spaces=spaces,
            updates=updates,
            concurrent=concurrent,
            seed=seed,
            command=["wd", "run", *given],
            swept=["wd", *sys.argv[1:]],
        ),
    )
    if as_json:
        return print_json({**made.model_dump(mode="json"), "report": str(folder / "report.html")})
    sweeping.show(made, folder)
