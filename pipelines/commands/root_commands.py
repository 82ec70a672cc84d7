"""Commands on a root: what may be deleted."""

from typing import Annotated

import typer
from rich.console import Console

from pipelines.commands.options import AsJson, examples, print_json

app = typer.Typer()


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
