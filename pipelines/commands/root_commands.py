"""Commands on a root: what is made there and being made, and what may be deleted."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from pipelines.commands.options import AsJson, examples, print_json
from pipelines.commands.recipe_arguments import read_recipe, shipped_recipes

app = typer.Typer()


@app.command(
    epilog=examples(
        "wd status artifacts",
        "wd status quickstart --watch 5",
        "wd status s3://bucket/prefix --json",
    )
)
def status(
    place: Annotated[
        str,
        typer.Argument(
            metavar="[ROOT|RECIPE]", help="A root's folder or address, or a recipe: its root."
        ),
    ] = "artifacts",
    watch: Annotated[
        float | None,
        typer.Option(min=0.1, metavar="SECONDS", help="Look again so often, until Ctrl-C."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell what is made below a root, and what is being made: how far, by whom, where."""
    from pipelines.tools import status as looking

    root = root_of(place)
    console = Console(width=max(looking.WIDTH, Console().width))  # a log is taken to have 80
    if watch is None:
        told = looking.status(root)
        return print_json(told) if as_json else console.print(looking.view(told))
    try:
        _watch(root, watch, None if as_json else console)
    except KeyboardInterrupt:
        return None  # as this command is ended


@app.command(
    epilog=examples(
        "wd gc artifacts",
        "wd gc s3://bucket/root --older-than 90 --delete",
        "wd gc artifacts --registry https://mlflow.example.org --json",
    )
)
def gc(
    root: Annotated[str, typer.Argument(metavar="ROOT", help="A folder, or a store's address.")],
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete it; otherwise it is only listed.")
    ] = False,
    older_than: Annotated[
        float, typer.Option(min=0, metavar="DAYS", help="Keep what is younger, and all it needs.")
    ] = 30,
    registry: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="MLflow's address; none: nothing is registered. Default: the root's own, and "
            "wherever its students were registered.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what nothing needs: old artifacts, unfinished work.

    Kept is all that is younger, all that registered versions are, and what these were made from.
    """
    from pipelines.tools import gc as collecting

    found = collecting.garbage(root, older_than=older_than, registry=registry)
    if delete:
        collecting.delete(root, found)
    if as_json:
        return print_json({"deleted": delete, "garbage": collecting.as_data(found)})
    if not found:
        print("nothing to delete")
        return None
    console = Console(soft_wrap=True)
    console.print(collecting.table(found))
    print("deleted" if delete else "nothing was deleted; --delete does it")
    return None


def root_of(place: str) -> str:
    """Return the root that an address, a folder, or a recipe's name or path means."""
    path = Path(place)
    is_recipe = place in shipped_recipes() or path.suffix in (".yaml", ".yml")
    if "://" in place or path.is_dir() or not is_recipe:
        return place
    return read_recipe(place).root


def _watch(root: str, seconds: float, console: Console | None) -> None:
    from pipelines.tools import status as looking

    told = looking.status(root)
    if console is None:
        while True:
            print_json(looking.status(root))
            time.sleep(seconds)
    with Live(looking.view(told), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(seconds)
            live.update(looking.view(looking.status(root)), refresh=True)
