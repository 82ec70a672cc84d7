"""Send a pipeline run to a Ray cluster as a job, and follow it.

python -m cluster.submit RECIPE [KEY=VALUE]... --address http://HOST:8265
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cluster.runtime_env import ENVIRONMENT, pack
from pipelines.commands.command_group import reporting
from pipelines.commands.options import Overrides, RecipeArgument
from pipelines.commands.recipe_arguments import RECIPES, read_recipe, recipe_path
from wd.errors import UserError
from wd.installed import RAY, need


def submit(
    command: Sequence[str], address: str, extra: tuple[Path, ...] = (), *, wait: bool = True
) -> int:
    """Ship the packages and `extra` files, run `command` there, return its exit status.

    The job's log goes to standard output. Without `wait` the status is 0 once it is submitted.
    Raises UserError if no cluster answers or if too much would be shipped.
    """
    need(RAY, "run it here: wd run RECIPE ray.workers=0")
    from wd.distributed.jobs import Jobs

    jobs = Jobs(address)
    with tempfile.TemporaryDirectory() as folder:
        size = pack(Path(folder), extra)
        job = jobs.submit(command, Path(folder), ENVIRONMENT)
    _say(f"job {job} has {size:,} bytes of code; the log, now or later:")
    _say(f"  ray job logs --address {address} --follow {job}")
    if not wait:
        return 0
    try:
        end = jobs.follow(job, lambda text: print(text, end="", flush=True))
    except KeyboardInterrupt:
        _say(f"the job goes on; to end it: ray job stop --address {address} {job}")
        raise
    _say(f"job {job}: {end.status}" + (f" ({end.message})" if end.exit_code else ""))
    return end.exit_code


def job_command(
    command: str, recipe: str, overrides: Sequence[str], python: str
) -> tuple[list[str], list[Path]]:
    """Return the command line of a job and the files that it needs beside the packages.

    The recipe is checked before anything is shipped. A job runs in a folder that the cluster
    throws away, so relative paths are resolved here.
    """
    settings = read_recipe(recipe, overrides)
    path = recipe_path(recipe)
    shipped = path.parent == RECIPES
    places = {"root": settings.root, "corpus.dir": settings.corpus.dir}
    absolute = [
        f"{key}={Path(place).absolute()}"
        for key, place in places.items()
        if place is not None and "://" not in place and not Path(place).is_absolute()
    ]
    name = recipe if shipped else f"./{path.name}"
    entry = [python, "-m", "pipelines", command, name, *overrides, *absolute]
    return entry, [] if shipped else [path]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _submit(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    address: Annotated[
        str | None,
        typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="The dashboard, e.g. http://HOST:8265."),
    ] = None,
    token_path: Annotated[
        Path | None,
        typer.Option(envvar="RAY_AUTH_TOKEN_PATH", help="File with the cluster's token."),
    ] = None,
    python: Annotated[str, typer.Option(help="The interpreter on the cluster.")] = "python",
    command: Annotated[str, typer.Option(help="A stage's command instead of all stages.")] = "run",
    wait: Annotated[bool, typer.Option(help="Follow the log until the job ends.")] = True,
) -> None:
    """Run all stages of RECIPE as a job on a Ray cluster; the exit status is the job's."""
    with reporting("no longer following"):
        if address is None:
            raise UserError(
                "which cluster? Give --address http://HOST:8265 or set RAY_API_SERVER_ADDRESS"
            )
        if token_path is not None:
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_path)}
        entry, extra = job_command(command, recipe, overrides or (), python)
        raise typer.Exit(submit(entry, address, tuple(extra), wait=wait))


if __name__ == "__main__":
    typer.run(_submit)
