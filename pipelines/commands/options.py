"""Arguments and options that several commands share."""

import json
from typing import Annotated, Any, Literal

import typer

from wd.logs import configure

RecipeArgument = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A shipped recipe's name, or a path to one.")
]
Root = Annotated[str, typer.Option(help="Where artifacts are, for names and the registry.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE", help="Overrides, e.g. student=small teacher.training.updates=200."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what exists and what is to do.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one line of JSON instead.")]
LogForm = Annotated[
    Literal["text", "json"] | None,
    typer.Option(
        "--log",
        callback=configure,
        help="How the log looks; WD_LOG is the default. json: each line is a JSON object.",
    ),
]


def print_json(value: Any) -> None:
    """Print one machine-readable line on standard output."""
    print(json.dumps(value, ensure_ascii=False))


def described(artifact: Any) -> dict[str, Any]:
    """Return what a command that makes an artifact prints as JSON."""
    return {"artifact": artifact.name, "path": str(artifact.place), "metrics": artifact.metrics}


def examples(*lines: str) -> str:
    """Return the end of a command's help; the form feed mark keeps its line breaks."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
