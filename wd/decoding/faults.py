"""What can be wrong with a translation, seen without a reference."""

import warnings
from collections.abc import Iterable
from typing import Literal, get_args

from wd.config import MAX_POSITIONS
from wd.decoding.lines import Hypothesis, is_blank

Fault = Literal["blank", "loop", "long"]
"""Nothing to be seen; goes round in circles; far longer than its source."""
FAULTS: tuple[Fault, ...] = get_args(Fault)

# Of the 31,936 human translations of the quickstart's corpora (German, Romanian, Chinese), read
# either way, none is a loop by these numbers and eight are long: they say more than their source.
LEAST_PIECES = 20
"""Fewer are no fault: a word may rightly become a phrase, and one word be said three times."""
LEAST_DIFFERENT = 0.3
"""Different pieces over pieces, below which a translation goes round in circles..."""
LEAST_OF_SOURCE = 0.5
"""... unless its source does as well: then, below this part of the source's own share."""
MOST_OF_SOURCE = 3
"""Pieces over the source's, above which a translation is too long."""


def fault(found: Hypothesis) -> Fault | None:
    """Return what is wrong with a translation, if anything is."""
    if is_blank(found.text):
        return "blank"
    if found.tokens < LEAST_PIECES:
        return None
    if _different(found.pieces) < min(LEAST_DIFFERENT, LEAST_OF_SOURCE * _different(found.source)):
        return "loop"
    return "long" if found.tokens > MOST_OF_SOURCE * len(found.source) else None


def _different(pieces: tuple[int, ...]) -> float:
    return len(set(pieces)) / len(pieces)


def count_cut(hypotheses: Iterable[Hypothesis]) -> int:
    """Return how many translations reached `max_length` before their end."""
    return sum(found.is_cut for found in hypotheses)


def warn_of_cuts(what: str, cut: int, lines: int, max_length: int, key: str) -> None:
    """Warn of translations that reached `max_length`, if any did; `key` is what sets it."""
    if cut:
        advice = (
            f"raise {key}, unless they go round in circles"
            if max_length < MAX_POSITIONS
            else "that is the most: split long lines"
        )
        warnings.warn(
            f"{what}: {cut} of {lines} translations were cut at {max_length} pieces: {advice}",
            stacklevel=3,
        )
