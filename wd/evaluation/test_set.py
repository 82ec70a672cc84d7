"""What systems are compared on."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TestSet:
    """Aligned text."""

    __test__ = False  # not a test class, whatever its name says

    sources: Sequence[str]
    references: Sequence[str]
    source_language: str
    target_language: str
    in_training: int = 0
    """So many of its sources stand in the training text."""
