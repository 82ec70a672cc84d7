"""The one place that decides where log records go and how they look."""

import logging
import os
import re
import sys
import uuid
import warnings
from types import TracebackType
from typing import TextIO

from rich.console import Console

from wd.errors import ConfigError
from wd.logs.facts import OURS, SAID, is_of, work_of
from wd.logs.formats import Json, Line
from wd.logs.terminal import Terminal

VARIABLE = "WD_LOG"
"""Environment variable for what `--log` says."""
FORMS = ("text", "json")
_form = "text"
_handler: logging.Handler | None = None
_chatter: dict[str, re.Pattern[str]] = {}
"""Library -> what is found in its warnings that say nothing of the work."""
_pythons_warning, _pythons_end = warnings.formatwarning, sys.excepthook


def configure(form: str | None = None) -> None:
    """Let this process log as a command does: `text` or `json`, by default as WD_LOG says.

    Text has bars on a terminal, and a time on each line elsewhere. Other libraries' loggers are
    heard from warnings on. Raises ConfigError for another form.
    """
    global _form
    form = form or os.environ.get(VARIABLE) or "text"
    if form not in FORMS:
        raise ConfigError(f"{VARIABLE}={form}: it can be {' or '.join(FORMS)}")
    _form = form
    if form == "json":
        use(_to_standard_error(Json()))
        sys.excepthook = _log_end
    elif sys.stderr.isatty():
        use(Terminal(Console(stderr=True)))
    else:
        use(_to_standard_error(Line(stamped=True)))


def form_of_log() -> str:
    """Return what this process was configured for."""
    return _form


def use(handler: logging.Handler) -> None:
    """Let one handler, in the place of an earlier one, have all that this process logs."""
    global _handler
    root = logging.getLogger()
    if _handler is not None:
        root.removeHandler(_handler)
        _handler.close()
    _handler = handler
    handler.addFilter(_is_worth_a_line)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    warnings.formatwarning = _as_line


def take_over(library: str, chatter: re.Pattern[str] | None = None) -> None:
    """Let a library that writes to standard error by itself speak in this log instead.

    Its warnings are heard, but for those in which `chatter` is found.
    """
    if chatter is not None:
        _chatter[library] = chatter
    known = {library: logging.getLogger(library), **logging.Logger.manager.loggerDict}
    for name, logger in known.items():
        if is_of(library, name) and isinstance(logger, logging.Logger):
            logger.propagate = True
            be_alone(logger)


def error_console() -> Console:
    """Return the console for tables between the lines; in a log of JSON nothing is shown."""
    if isinstance(_handler, Terminal):
        return _handler.console
    if _form == "json":
        return Console(stderr=True, quiet=True, force_terminal=False)
    return Console(stderr=True, soft_wrap=True)


def new_run() -> dict[str, str]:
    """Return the name of a command's run, which its log lines and those of its workers bear."""
    return {"run": uuid.uuid4().hex[:8]}


def be_alone(logger: logging.Logger) -> None:
    """Take a logger's handlers that write to a stream away; those that write files stay."""
    for handler in list(logger.handlers):
        if isinstance(handler, logging.StreamHandler) and not isinstance(
            handler, logging.FileHandler
        ):
            logger.removeHandler(handler)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Tell whether a record is ours, or a warning of a library's that says something."""
    if any(is_of(name, record.name) for name in OURS):
        return True
    chatter = (pattern for name, pattern in _chatter.items() if is_of(name, record.name))
    message = record.getMessage()
    return record.levelno >= logging.WARNING and not any(one.search(message) for one in chatter)


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to what standard error is when it writes."""

    def __init__(self) -> None:
        logging.Handler.__init__(self, SAID)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def _to_standard_error(formatter: logging.Formatter) -> logging.Handler:
    handler = _StandardError()
    handler.setFormatter(formatter)
    return handler


def _as_line(
    message: Warning | str, category: type[Warning], *place: object, **more: object
) -> str:
    """Return a warning as a line of this process's log; a library's keeps its place.

    Python writes it, not a handler, so that whoever records warnings still has them.
    """
    name, text = "wd", str(message)
    if category is not UserWarning:
        name = "python"
        text = _pythons_warning(message, category, *place, **more).rstrip()  # type: ignore[arg-type]
    record = logging.makeLogRecord(
        {"name": name, "msg": text, "levelno": logging.WARNING, "levelname": "WARNING"}
    )
    record.work = work_of()
    formatter = _handler.formatter if _handler is not None else None
    return (formatter or Line(stamped=False)).format(record) + "\n"


def _log_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Log what ends this process, so that this too is an object on a line."""
    if issubclass(kind, KeyboardInterrupt):
        return _pythons_end(kind, error, trace)
    logging.getLogger("wd").critical("%s: %s", kind.__name__, error, exc_info=(kind, error, trace))
