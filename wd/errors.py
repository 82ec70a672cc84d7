"""Errors that are addressed to the user: what was wrong, where, and what to do."""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

_NEAR = 0.6
"""Two names are alike if so much of both is the same, from 0 to 1."""
_FEW, _MANY = 8, 30
"""So many names are all told: beside a near one, and where there is none."""
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


class UserError(Exception):
    """Something the user can mend. The command line prints it in one piece and exits with 2."""

    def __init__(self, message: str = "") -> None:
        super().__init__(without_credentials(message))


class ConfigError(UserError):
    """A recipe, an override or a shape that breaks a rule."""


class DataError(UserError):
    """A corpus that is missing, misaligned, empty or not UTF-8."""


class ArtifactError(UserError):
    """An artifact, model directory or checkpoint that is missing, truncated or altered."""


class TrackingError(UserError):
    """A tracking server or database that cannot be used."""


class ServerAwayError(TrackingError):
    """A tracking server that does not answer now, or not as it should; later it may."""


class RegistryError(UserError):
    """A registered model, version or alias that does not exist or cannot be used."""


class ClusterError(UserError):
    """A Ray cluster that does not answer or does not let us in."""


class DeviceMemoryError(UserError):
    """A batch or a model that does not fit the memory of a GPU, or of the machine."""


_LACK = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "bad_alloc")
"""What torch, CTranslate2, CUDA and C++ say when there is no memory."""


@contextmanager
def memory_explained(explain: Callable[[str], str]) -> Iterator[None]:
    """Turn a lack of device memory into a DeviceMemoryError: what `explain` makes of the lack."""
    try:
        yield
    except Exception as error:
        if (lack := out_of_memory(error)) is None:
            raise
        raise DeviceMemoryError(explain(lack)) from error


def out_of_memory(error: Exception) -> str | None:
    """Return what an error of a library says of a lack of memory; None if it is of another kind.

    Without torch's advice on its allocator, and without a C++ backtrace.
    """
    if isinstance(error, UserError) or not isinstance(error, RuntimeError | MemoryError):
        return None
    told = str(error)
    names = {kind.__name__ for kind in type(error).__mro__}
    if not names & {"OutOfMemoryError", "MemoryError"} and not any(s in told for s in _LACK):
        return None
    first = told.partition(" If reserved but unallocated")[0].partition("\n")[0]
    return first.strip() or type(error).__name__


def to_data(error: UserError) -> dict[str, str]:
    """Return the error as plain data, for another process; `from_data` makes it anew.

    A module's private kind of error is told as the kind of this file that it is derived from.
    """
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == __name__)
    return {"kind": kind.__name__, "message": str(error)}


def from_data(data: Mapping[str, str]) -> UserError:
    """Return the error that `to_data` has told, of the same class."""
    kind = globals().get(data["kind"])
    if isinstance(kind, type) and issubclass(kind, UserError):
        return kind(data["message"])
    return UserError(data["message"])


def without_credentials(text: str) -> str:
    """Return a text, its addresses without the user and password that they may hold."""
    return _CREDENTIALS.sub("", text)


def unknown(what: str, name: str, known: Iterable[str], *, below: str = "") -> str:
    """Say that there is no `what` of this name: which one is near, or what there is.

    `below` is where the names are, as in `teacher.training.`: it is told, but not compared.
    """
    names = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(name.casefold(), names, n=1, cutoff=_NEAR)
    message = f"unknown {what} {below}{name}"
    if near:
        message += f"; did you mean {below}{names[near[0]]}?"
    if not 0 < len(names) <= (_FEW if near else _MANY):
        return message
    return message + (" It can be " if near else ": it can be ") + ", ".join(names.values())
