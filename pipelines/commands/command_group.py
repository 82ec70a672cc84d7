"""How commands fail: one message for the user's mistakes, and a way on after Ctrl-C."""

import errno
import logging
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from typer import Exit
from typer.core import TyperGroup

from wd.errors import UserError
from wd.logs import configure, new_run, working_on
from wd.manifest import command_line

_USERS_DISK = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)
_LOG = logging.getLogger(__name__)
BAD_INPUT = 2
INTERRUPTED = 130


@contextmanager
def reporting(interrupted: str) -> Iterator[None]:
    """Exit with 2 after a `UserError`, with 130 after Ctrl-C; other errors are bugs and show."""
    try:
        configure()
        yield
    except KeyboardInterrupt:
        _LOG.info("%s", interrupted)
        raise Exit(INTERRUPTED) from None
    except Exception as error:
        message = _message(error)
        if message is None:
            raise
        _LOG.error("%s", message)
        raise Exit(BAD_INPUT) from None


class CommandGroup(TyperGroup):
    """A group of commands that fail as `reporting` says."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep the arguments, to tell the user how to go on."""
        ctx.meta["wd.arguments"] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        again = shlex.join(["wd", *ctx.meta["wd.arguments"]])
        way_on = f"interrupted: what is finished is kept; to go on, again: {again}"
        with working_on(**new_run(), command=command_line()), reporting(way_on):
            return super().invoke(ctx)


def _message(error: BaseException | None) -> str | None:
    """Return what to tell the user, or None for a bug.

    What was raised in a worker comes wrapped, as the `cause` of a remote error.
    """
    while error is not None:
        for cause in (getattr(error, "cause", None), error):
            if isinstance(cause, UserError):
                return str(cause)
            if isinstance(cause, OSError) and cause.errno in _USERS_DISK:
                return f"{cause.filename or 'disk'}: {cause.strerror}"
        error = error.__cause__
    return None
