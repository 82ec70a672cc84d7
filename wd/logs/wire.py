"""Records of other processes: written to their standard error, and logged again by who hears."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wd.logs.facts import facts_of, work_of, work_on
from wd.logs.formats import trace_of
from wd.logs.setup import be_alone, configure, form_of_log, use

MARK = "wd-record: "
"""What a line that holds a record begins with."""
_heard = False


@dataclass(frozen=True)
class Voice:
    """How a worker is to speak: of whose work, and whether who started it hears its records."""

    work: Mapping[str, str]
    heard: bool
    form: str
    """Of its log where it is not heard."""

    @classmethod
    def here(cls) -> "Voice":
        """Return that of workers which this process is about to start."""
        return cls(work_of(), _heard, form_of_log())

    def adopt(self) -> None:
        """Let this process speak so."""
        work_on(self.work)
        hearing(self.heard)
        be_alone(logging.getLogger())  # Ray Train gives its workers a handler, too
        if not self.heard:
            return configure(self.form)
        handler = logging.StreamHandler()
        handler.setFormatter(_Wire())
        use(handler)


class _Wire(logging.Formatter):
    """A record as a line that `hear` reads."""

    def format(self, record: logging.LogRecord) -> str:
        held = {
            "name": record.name,
            "levelno": record.levelno,
            "levelname": record.levelname,
            "created": record.created,
            "msg": record.getMessage(),
            "work": work_of(record),
            "facts": facts_of(record),
            "exc_text": trace_of(record),
        }
        return MARK + json.dumps(held, default=str)


def hearing(heard: bool = True) -> None:
    """Say that what workers of this process write is given to `hear`."""
    global _heard
    _heard = heard


def hear(line: str) -> bool:
    """Log a worker's record here; False if the line holds none."""
    if not line.startswith(MARK):
        return False
    try:
        held: dict[str, Any] = json.loads(line.removeprefix(MARK))
        record = logging.makeLogRecord(held)
        logger = logging.getLogger(record.name)
    except (ValueError, TypeError):
        return False
    logger.handle(record)
    return True
