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
