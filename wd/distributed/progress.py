"""How far a map is: told in the log now and then, and to bars and `wd status` at every part."""

import logging
import time

from wd.logs import SAID, facts, work_of

_LOG = logging.getLogger(__name__)
_EVERY_SECONDS = 10.0
"""In a log."""


class Parts:
    """Counts the parts of a map; call it when one more is made."""

    def __init__(self, name: str, *, total: int, done: int) -> None:
        self._name, self._total, self._done = name, total, done
        self._began = self._told = time.monotonic()
        self._before = done
        self._tell(logging.DEBUG)

    def __call__(self) -> None:
        """One more is made."""
        self._done += 1
        now = time.monotonic()
        level = logging.DEBUG
        if now - self._told >= _EVERY_SECONDS:
            level, self._told = SAID, now
        self._tell(level)

    def _tell(self, level: int) -> None:
        unit = "parts" if self._name == "parts" else f"{self._name} parts"
        progress = {"done": self._done, "of": self._total, "unit": unit}
        if made := self._done - self._before:
            each = (time.monotonic() - self._began) / made
            progress["seconds_left"] = each * (self._total - self._done)
        who = work_of().get("stage", self._name)
        told = (who, self._done, self._total, unit)
        _LOG.log(level, "%s: %d of %d %s", *told, extra=facts(progress=progress))
