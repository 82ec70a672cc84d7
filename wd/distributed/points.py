"""Points of a search space: what a trial is started with, and the grid of them all."""

import hashlib
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from wd.config import Domain, Range

Point = dict[str, Any]
"""Dotted recipe key -> value."""
Parameters = Mapping[str, Domain]
"""What a sampler chooses: name -> values or a range; a point follows from a choice."""
_MOST = 100_000
"""Points of a grid that are ever looked at."""


@dataclass(frozen=True)
class Candidate:
    """A point that may become a trial."""

    point: Point
    name: str
    """For people."""
    values: Mapping[str, Any] | None = None
    """The sampler's parameters that the point follows from; None: it is none of the space."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What is known of it before it trains."""
    refused: str = ""
    """Why it may not be trained."""
    kept: bool = False
    """Whether it is never stopped early."""

    @property
    def key(self) -> str:
        """The trial's key."""
        return trial_key(self.point)


def trial_key(point: Mapping[str, Any]) -> str:
    """Return a short name for a point: the same in every search."""
    text = json.dumps(point, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def grid(parameters: Parameters, seed: int) -> Iterator[dict[str, Any]]:
    """Yield every choice once, in random order; of a very large grid a random part."""
    axes = [
        domain.grid() if isinstance(domain, Range) else domain for domain in parameters.values()
    ]
    total = prod(len(axis) for axis in axes)
    for number in _shuffled(total, random.Random(seed)):
        choice = {}
        for name, axis in zip(parameters, axes, strict=True):
            number, place = divmod(number, len(axis))
            choice[name] = axis[place]
        yield choice


def draw(parameters: Parameters, seed: int) -> Iterator[dict[str, Any]]:
    """Yield independent random choices without end."""
    generator = random.Random(seed)
    while True:
        yield {name: _drawn(domain, generator) for name, domain in parameters.items()}


def _shuffled(total: int, generator: random.Random) -> Iterator[int]:
    if total <= _MOST:
        yield from generator.sample(range(total), total)
        return
    seen: set[int] = set()
    while len(seen) < _MOST:
        number = generator.randrange(total)
        if number not in seen:
            seen.add(number)
            yield number


def _drawn(domain: Domain, generator: random.Random) -> Any:
    if not isinstance(domain, Range):
        return generator.choice(domain)
    if domain.step:
        return generator.choice(domain.grid())
    number = domain.at(generator.random())
    return round(number) if domain.is_whole else number


def _plain(value: Any) -> Any:
    """Return a NumPy scalar as Python's own."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} has no JSON")
