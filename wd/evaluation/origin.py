"""Where a page's figures come from: what a reader needs to get them again."""

from datetime import UTC, datetime
from typing import Self

from wd.config import Config
from wd.machine import described
from wd.manifest import command_line, commit


class Origin(Config):
    """What made a report."""

    command: str
    commit: str
    date: str
    """UTC, ISO 8601."""
    machine: str
    """Where speeds were measured."""

    @classmethod
    def here(cls, command: str = "") -> Self:
        """Return this process's, now; `command` stands for how it was started."""
        return cls(
            command=command or command_line(),
            commit=commit() or "not in a repository",
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            machine=described(),
        )

    def on(self, machine: str) -> Self:
        """Return it with the machine where speeds were measured."""
        return self.model_copy(update={"machine": machine})
