"""The command line `wd`; `python -m pipelines` is the same without installation.

Commands only read arguments and print results. Everything heavy is imported inside them.
"""

import sys

import typer

from pipelines.commands import (
    model_commands,
    recipe_commands,
    registry_commands,
    root_commands,
    serving_commands,
    stage_commands,
    study_commands,
)
from pipelines.commands.command_group import CommandGroup

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (
    stage_commands,
    recipe_commands,
    study_commands,
    model_commands,
    registry_commands,
    serving_commands,
    root_commands,
):
    app.add_typer(commands.app)


def main(command: str | None = None) -> None:
    """Run `wd` with the process's arguments; `command` is put before them."""
    app([*filter(None, [command]), *sys.argv[1:]], prog_name="wd")


@app.callback()
def _wd() -> None:
    """Turn a big translation Transformer into a small fast one by weight distillation.

    A recipe says everything about a run; finished stages are found again and skipped.

    Start with:  wd run quickstart
    """
