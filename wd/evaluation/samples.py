"""Some sentences of a test set with what every system made of them."""

from collections.abc import Mapping, Sequence

from wd.config import Config

SAMPLES = 10


class Sample(Config):
    """One test sentence."""

    source: str
    reference: str
    hypotheses: dict[str, str]
    """System name -> its translation."""


def samples(
    sources: Sequence[str], references: Sequence[str], texts: Mapping[str, Sequence[str]]
) -> tuple[Sample, ...]:
    """Return `SAMPLES` lines, or all there are, evenly spaced over the test set."""
    return tuple(
        Sample(
            source=sources[index],
            reference=references[index],
            hypotheses={name: lines[index] for name, lines in texts.items()},
        )
        for index in spaced(len(sources), SAMPLES)
    )


def spaced(length: int, most: int) -> list[int]:
    """Return the places of `most` lines, or of all there are, evenly spaced over so many."""
    count = min(most, length)
    return [number * length // count for number in range(count)]
