"""Validation BLEU during training, over the phases of it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Curve = tuple[tuple[int, float], ...]
"""(updates, validation BLEU), in the order of training."""


def joined(phases: Iterable[Sequence[Mapping[str, Any]]]) -> Curve:
    """Return the validation BLEU of successive phases; updates are counted on over them.

    A phase is its validations' figures, `update` and perhaps `bleu` among them, the last one at
    its end.
    """
    curve: list[tuple[int, float]] = []
    done = 0
    for history in phases:
        curve += [(done + each["update"], each["bleu"]) for each in history if "bleu" in each]
        done += history[-1]["update"] if history else 0
    return tuple(curve)


def seconds_at(phases: Iterable[tuple[Sequence[Mapping[str, Any]], float]]) -> tuple[float, ...]:
    """Return the seconds of training up to each point of `joined`.

    A phase is its validations' figures and its wall clock, which is spread evenly over its updates.
    """
    found: list[float] = []
    done = 0.0
    for history, seconds in phases:
        for each in history:
            if "bleu" in each:
                found.append(done + seconds * each["update"] / history[-1]["update"])
        done += seconds
    return tuple(found)
