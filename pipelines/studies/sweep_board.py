"""What a sweep shows while it runs: one table that changes on a terminal, plain lines in a log."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from wd.config import SearchConfig
from wd.logs import facts

if TYPE_CHECKING:
    from wd.distributed.points import Candidate
    from wd.distributed.records import TrialEnd

_LOG = logging.getLogger(__name__)
_COLOURS = {"running": "cyan", "finished": "green", "stopped": "yellow", "failed": "red"}
_ROWS = 30
"""Of the live table; the oldest ones that ended are left out."""


class Board:
    """Use as a context manager; `show` takes a trial's state whenever that changes."""

    def __init__(self, console: Console, config: SearchConfig, given: "Sequence[Candidate]"):
        self._console, self._config = console, config
        self._states: dict[str, TrialEnd] = {}
        self._live: Live | None = None
        self._refused = [one for one in given if one.refused]

    def __enter__(self) -> Self:
        for one in self._refused:
            self._say(f"trial {one.name}: not tried: {one.refused}")
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=2, transient=True)
            self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._live:
            self._live.__exit__(*error)

    def show(self, end: "TrialEnd") -> None:
        """Show a trial's new state."""
        self._states[end.key] = end
        done = sum(each.status != "running" for each in self._states.values())
        progress = {"done": done, "of": self._config.max_trials, "unit": "trials"}
        if self._live:
            self._live.update(live_table(self._config, list(self._states.values())))
        level = logging.DEBUG if self._live else logging.INFO
        _LOG.log(level, "%s", line(self._config, end), extra=facts(progress=progress))

    def _say(self, text: str) -> None:
        _LOG.info("%s", text)


def line(config: SearchConfig, end: "TrialEnd") -> str:
    """Return a trial's state as a log's line."""
    update = f"update {end.metrics['update']}, " if "update" in end.metrics else ""
    figures = ", ".join(
        f"{name} {end.metrics[name]:,.4g}" for name in config.objectives if name in end.metrics
    )
    reason = f", {end.error}" if end.error else ""
    return f"trial {end.name}: {end.status}, {update}{figures}{reason}"


def live_table(config: SearchConfig, ends: "Sequence[TrialEnd]") -> Table:
    """Return the trials as a table, those that run last."""
    counts = ", ".join(
        f"{sum(end.status == status for end in ends)} {status}"
        for status in dict.fromkeys(end.status for end in ends)
    )
    table = Table(title=f"sweep: {counts} of {config.max_trials}")
    for column in ("trial", "status", "update", *config.objectives):
        table.add_column(column, justify="left" if column in ("trial", "status") else "right")
    shown = sorted(ends, key=lambda end: (end.status == "running", end.number))[-_ROWS:]
    for end in shown:
        cells = (
            f"{end.metrics[name]:,.4g}" if name in end.metrics else "-"
            for name in config.objectives
        )
        colour = _COLOURS.get(end.status, "default")
        update = str(end.metrics.get("update", "-"))
        table.add_row(end.name, f"[{colour}]{end.status}[/]", update, *cells)
    return table
