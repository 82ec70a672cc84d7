"""What a log record holds beside its message: whose work it tells of, and figures."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

OURS = ("wd", "pipelines", "tune_spaces", "cluster")
"""Loggers of these names, and those below them, are the project's."""
SAID = logging.INFO
"""What a log shows; what is below it is for bars and `wd status`, which take every step."""

# Of the process, not of a thread: those that save or track beside a training speak for it, too.
_work: dict[str, str] = {}

for _name in OURS:
    logging.getLogger(_name).setLevel(logging.DEBUG)  # handlers choose, not loggers


def is_of(library: str, logger: str) -> bool:
    """Tell whether a logger is a library's."""
    return logger == library or logger.startswith(f"{library}.")


def facts(**known: Any) -> dict[str, dict[str, Any]]:
    """Return figures as a logging call's `extra`.

    `progress` has done, of, unit, and perhaps seconds_left and other figures; `validation` has
    update and figures; `made`, the last of an artifact, has seconds.
    """
    return {"facts": known}


def facts_of(record: logging.LogRecord) -> Mapping[str, Any]:
    """Return a record's figures."""
    known: Mapping[str, Any] = getattr(record, "facts", {})
    return known


def work_of(record: logging.LogRecord | None = None) -> Mapping[str, str]:
    """Return what a record, or this process, is about: run, command, stage, artifact, if known."""
    work: Mapping[str, str] = getattr(record, "work", _work)
    return dict(work)


def work_on(work: Mapping[str, str]) -> None:
    """Let all that this process logs from now on be about this."""
    _work.clear()
    _work.update(work)


@contextmanager
def working_on(**work: str) -> Iterator[None]:
    """Let all that is logged while the context lasts be about this, too."""
    before = dict(_work)
    _work.update(work)
    try:
        yield
    finally:
        work_on(before)
