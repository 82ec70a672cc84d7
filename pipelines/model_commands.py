"""Commands on finished models: inspect, translate, export, promote, roll back."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipelines.options import AsJson, examples, print_json

app = typer.Typer()


@app.command(epilog=examples("wd inspect artifacts/student/quickstart-0123456789ab"))
def inspect(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="An artifact's folder or a model directory.")
    ],
    as_json: AsJson = False,
) -> None:
    """Tell what a folder is, where it came from, and whether its bytes are intact."""
    from pipelines import inspect as inspecting

    told = inspecting.inspect(path)
    if as_json:
        return print_json(told)
    inspecting.show(told, Console(markup=False))
