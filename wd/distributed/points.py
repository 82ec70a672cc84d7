"""Points of a search space: drawn without repetition, each with a name of its own."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from ray.tune.search.variant_generator import generate_variants

Point = dict[str, Any]
"""Dotted recipe key -> value."""
_MISSES = 500
"""So many repetitions in a row mean that a space is exhausted."""


def draw(space: Mapping[str, Any], count: int, seed: int) -> list[Point]:
    """Return up to `count` distinct points; fewer if the space seems to hold no more.

    The same space and seed give the same points, and a larger count more of them.
    """
    generator = np.random.RandomState(seed)
    points: dict[str, Point] = {}
    misses = 0
    while len(points) < count and misses < _MISSES:
        _, point = next(generate_variants(dict(space), random_state=generator))
        key = trial_key(point)
        misses = misses + 1 if key in points else 0
        points.setdefault(key, {name: _plain(value) for name, value in point.items()})
    return list(points.values())


def trial_key(point: Mapping[str, Any]) -> str:
    """Return a short name for a point: the same in every search."""
    text = json.dumps(point, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _plain(value: Any) -> Any:
    """Return a NumPy scalar as Python's own."""
    return value.item() if isinstance(value, np.generic) else value
