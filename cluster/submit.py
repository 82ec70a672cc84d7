"""Send any of `wd`'s commands to a Ray cluster as a job, and follow it.

python -m cluster.submit --address http://HOST:8265 run RECIPE [KEY=VALUE]...
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.job_command import job_command
from cluster.runtime_env import environment, pack, withheld
from pipelines.commands.command_group import reporting
from wd.errors import UserError
from wd.installed import RAY, need

if TYPE_CHECKING:
    from wd.distributed.jobs import Jobs

OPTIONS = ("--address", "--token-path", "--python", "--pip", "--env", "--wait", "--no-wait")

Address = Annotated[
    str | None,
    typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="The dashboard, e.g. http://HOST:8265."),
]
TokenPath = Annotated[
    Path | None, typer.Option(envvar="RAY_AUTH_TOKEN_PATH", help="File with the cluster's token.")
]
Requirements = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help="Requirements that the nodes install for this job, say constraints.txt. Default: "
        "they have all.",
    ),
]
Variables = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="A variable of this environment for the job; repeatable."),
]


def _submit(
    command: Annotated[str, typer.Argument(metavar="COMMAND", help="One of wd's commands.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="ARGUMENT", help="The command's, options too.")
    ] = None,
    address: Address = None,
    token_path: TokenPath = None,
    python: Annotated[str, typer.Option(help="The interpreter on the cluster.")] = "python",
    pip: Requirements = None,
    env: Variables = None,
    wait: Annotated[bool, typer.Option(help="Follow the log until the job ends.")] = True,
) -> None:
    """Run one of wd's commands as a job on a Ray cluster; the exit status is the job's."""
    with reporting("no longer following"):
        for argument in arguments or ():
            if argument.partition("=")[0] in OPTIONS:
                raise UserError(
                    f"{argument}: options of cluster.submit come before wd's command: python -m "
                    "cluster.submit --address http://HOST:8265 run RECIPE [KEY=VALUE]..."
                )
        job = job_command([command, *(arguments or ())])
        variables = environment(env or ())
        if address is None:
            raise UserError(
                "which cluster? Give --address http://HOST:8265 or set RAY_API_SERVER_ADDRESS"
            )
        need(RAY, "run it here: wd run RECIPE ray.workers=0")
        if token_path is not None:
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_path)}
        from wd.distributed.jobs import Jobs

        jobs = Jobs(address)
        with tempfile.TemporaryDirectory() as folder:
            shipment = pack(Path(folder), job.files)
            entry = [python, "-m", "pipelines", *job.arguments]
            number = jobs.submit(entry, Path(folder), variables, pip)
        _say(f"job {number} takes {shipment} along; its log, now or later:")
        _say(f"  ray job logs --address {address} --follow {number}")
        if kept := withheld():
            _say(f"not sent, so that the nodes need their own: {', '.join(kept)}")
        if wait:
            raise typer.Exit(_followed(jobs, address, number))


def _followed(jobs: "Jobs", address: str, number: str) -> int:
    """Pass a job's log on to standard output until it ends; return its exit status."""
    try:
        end = jobs.follow(number, lambda text: print(text, end="", flush=True))
    except KeyboardInterrupt:
        _say(f"the job goes on; to end it: ray job stop --address {address} {number}")
        raise
    _say(f"job {number}: {end.status}" + (f" ({end.message})" if end.exit_code else ""))
    return end.exit_code


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
# What follows the command is the command's.
app.command(context_settings={"allow_interspersed_args": False})(_submit)

if __name__ == "__main__":
    app(prog_name="python -m cluster.submit")
