"""Commands on the model registry: promote, roll back."""

from typing import Annotated

import typer

from pipelines.commands.options import (
    AsJson,
    LogForm,
    Overrides,
    RecipeArgument,
    Root,
    examples,
    print_json,
)
from pipelines.commands.recipe_arguments import read_recipe

app = typer.Typer()

REFUSED = 1
"""The exit status where the gate refuses a version."""


@app.command(
    epilog=examples(
        "wd promote quickstart",
        "wd promote quickstart registry.min_bleu=20 --dry-run",
        "wd promote student/quickstart-tiny-wd-0123456789ab",
        "wd promote quickstart --to https://mlflow.example.org",
    )
)
def promote(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE|RUN|ARTIFACT",
            help="A recipe, the id of a pipeline's run in MLflow, or a student's artifact.",
        ),
    ],
    overrides: Overrides = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="URI", help="Another registry, to copy the version to."),
    ] = None,
    anew: Annotated[
        bool,
        typer.Option(
            "--evaluate-champion",
            help="Let the version in use translate the test set first, where it was evaluated on "
            "another one.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the verdict; register and change nothing.")
    ] = False,
    as_json: AsJson = False,
    log: LogForm = None,
    root: Root = "artifacts",
) -> None:
    """Register the student; it gets the alias if it passes the gate.

    Whatever the recipe still lacks is made first. Exit status 1: the gate refuses it.
    """
    from pipelines.commands.promotion_target import recipe_of
    from pipelines.stages import promotion

    settings = recipe_of(recipe, overrides or (), root, to)
    ask = promotion.foresee if dry_run else promotion.promote
    told = ask(settings, anew=anew)
    if as_json:
        print_json(told)
    else:
        print("\n".join([*told["verdict"], promotion.summary(told)]))
    if not told["passed"]:
        raise typer.Exit(REFUSED)


@app.command(epilog=examples("wd rollback quickstart", "wd rollback quickstart --steps 2"))
def rollback(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    steps: Annotated[int, typer.Option(min=1, help="So many promotions are undone.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Give the alias back to the version that had it before."""
    from pipelines.stages import promotion

    moved = promotion.rollback(read_recipe(recipe, overrides or ()), steps)
    if as_json:
        return print_json(moved)
    if "note" in moved:
        print(f"note  {moved['note']}")
    print(f"{moved['name']}@{moved['alias']}: version {moved['from']} -> version {moved['to']}")
