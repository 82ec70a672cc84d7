"""How a record is written: a line for people, with or without its time, or a JSON object."""

import json
import logging
from datetime import UTC, datetime

from wd.logs.facts import OURS, facts_of, is_of, work_of


class Line(logging.Formatter):
    """A line that says its level where that is a warning or worse."""

    def __init__(self, *, stamped: bool) -> None:
        super().__init__(
            "%(asctime)s %(said)s" if stamped else "%(said)s", datefmt="%Y-%m-%d %H:%M:%S"
        )

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and below it the traceback if there is one."""
        record.said = said(record)
        return super().format(record)


class Json(logging.Formatter):
    """A JSON object on a line: time (UTC), level, message, run, stage, artifact, figures."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **{key: value for key, value in work_of(record).items() if key != "command"},
            "logger": record.name,
            **facts_of(record),
        }
        if trace := trace_of(record):
            line["traceback"] = trace
        return json.dumps(line, ensure_ascii=False, default=str)


def said(record: logging.LogRecord) -> str:
    """Return a record's message, with its level and a foreign logger's name where it has them."""
    is_ours = any(is_of(name, record.name) for name in OURS)
    level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
    return level + ("" if is_ours else f"{record.name}: ") + record.getMessage()


def trace_of(record: logging.LogRecord) -> str | None:
    """Return a record's traceback, if it has one."""
    if record.exc_info and not record.exc_text:
        return logging.Formatter().formatException(record.exc_info)
    return record.exc_text
