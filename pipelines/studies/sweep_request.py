"""What a sweep is asked beside what its recipe says."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """A command's arguments, the recipe apart."""

    spaces: Sequence[str]
    """Names of spaces, and files."""
    updates: int | None = None
    """Of each phase, instead of the recipe's."""
    concurrent: int | None = None
    """Trials at a time."""
    seed: int = 1
    """Of the sampling."""
    command: Sequence[str] = ("wd", "run", "RECIPE")
    """What makes the recipe at its full budget; a trial's overrides are added to it."""
    swept: Sequence[str] = ("wd", "sweep", "RECIPE")
    """What was asked, for the report."""
