"""How far a translation of a file is: a bar on a terminal, a line now and then in a log."""

import logging
import sys
import time
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

_LOG = logging.getLogger(__name__)
_EVERY_SECONDS = 10
"""In a log."""


class Progress:
    """Tells on standard error; only where a file is written, since else the lines are seen."""

    def __init__(self, name: str, source: Path | None, target: Path | None) -> None:
        self._name, self._target = name, target
        self._started = self._told = time.monotonic()
        self._lines = 0
        self._total = _count(source) if target else None
        self._bar: Bar | None = None
        if target and sys.stderr.isatty():
            columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(name, total=self._total)
            self._bar.start()

    def done(self, lines: int) -> None:
        """So many lines are translated."""
        self._lines, now = lines, time.monotonic()
        if self._bar:
            self._bar.update(self._task, completed=lines)
        elif self._target and now - self._told >= _EVERY_SECONDS:
            self._told = now
            of = f" of {self._total:,}" if self._total else ""
            _LOG.info("%s: %s%s lines", self._name, f"{lines:,}", of)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if self._bar:
            self._bar.stop()
        if self._target and kind is None:
            seconds = max(time.monotonic() - self._started, 1e-9)
            _LOG.info(
                "%s: %s lines in %.1f s (%s lines/s): %s",
                self._name,
                f"{self._lines:,}",
                seconds,
                f"{self._lines / seconds:,.0f}",
                self._target,
            )


def _count(source: Path | None) -> int | None:
    """Return the lines of a file; None for what can be read only once."""
    if source is None or not source.is_file():
        return None
    with source.open("rb") as stream:
        return sum(1 for _ in stream)
