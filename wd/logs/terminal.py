"""What a person at a terminal sees: lines, and below them a bar for what is being made."""

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from wd.logs.facts import SAID, facts_of, work_of
from wd.logs.formats import said, trace_of

_STYLES = {"exists": "green", "made": "green", "making": "bold", "error:": "red"}
"""A line's first word -> how it looks."""


class Terminal(logging.Handler):
    """Shows the progress of what this process makes as a bar, and everything else as lines."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.DEBUG)
        self.console = console
        self._bar: Progress | None = None
        self._shown = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record."""
        try:
            work, own = work_of(record).get("artifact", ""), work_of().get("artifact", "")
            if work == own and "progress" in facts_of(record):
                self._advance(work, record)
            elif record.levelno >= SAID:
                if work != self._shown or "made" in facts_of(record):
                    self.end()
                self._write(record)
        except Exception:
            self.handleError(record)

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def close(self) -> None:
        """Take the bar away, and be done."""
        self.end()
        super().close()

    def _advance(self, work: str, record: logging.LogRecord) -> None:
        progress, what = facts_of(record)["progress"], record.getMessage().partition(":")[0]
        if self._bar is None or self._shown != work:
            self.end()
            self._bar, self._shown = _bar(self.console), work
            self._bar.add_task("", figures="")
            self._bar.start()
        self._bar.update(
            self._bar.task_ids[0],
            description=what,
            completed=progress["done"],
            total=progress["of"],
            figures=", ".join(_figures(progress)),
        )
        if progress["done"] >= progress["of"]:
            self.end()

    def _write(self, record: logging.LogRecord) -> None:
        text = said(record)
        first = text.partition(" ")[0]
        shown = Text(text)
        shown.stylize(_STYLES.get(first, ""), 0, len(first))
        self.console.print(shown, soft_wrap=True)
        if trace := trace_of(record):
            self.console.print(trace, markup=False, highlight=False, soft_wrap=True)


def _bar(console: Console) -> Progress:
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), "{task.fields[figures]}")
    made = (TextColumn(each) if isinstance(each, str) else each for each in columns)
    return Progress(*made, console=console, transient=True)


def _figures(progress: Mapping[str, Any]) -> list[str]:
    shown = [str(progress["unit"])]
    if "loss" in progress:
        shown.append(f"loss {progress['loss']:.3f}")
    if "tokens_per_second" in progress:
        shown.append(f"{progress['tokens_per_second']:,.0f} target tokens/s")
    if "seconds_left" in progress:
        shown.append(f"{timedelta(seconds=round(progress['seconds_left']))} left")
    return shown
