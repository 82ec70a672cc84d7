"""A search space as plain data: recipe key -> a list of values, or a range."""

from collections.abc import Mapping
from math import floor
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator

from wd.config.load import overridden, validated
from wd.config.reading import parse_yaml
from wd.config.recipe import Recipe
from wd.config.shapes import Config
from wd.errors import ConfigError

_GRID = 4
"""Values that a grid takes of a range without steps."""


class Range(Config):
    """Numbers from `min` to `max`, both included; whole ones if these and the step are."""

    min: int | float
    max: int | float
    step: int | float | None = None
    log: bool = False
    """Equally likely in their logarithm."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other")
        if self.log and self.min <= 0:
            raise ValueError(f"log needs a min above 0, not {self.min:g}")
        if self.step is not None and self.step <= 0:
            raise ValueError(f"step must be above 0, not {self.step:g}")
        return self

    @property
    def is_whole(self) -> bool:
        """Whether its numbers are integers."""
        return all(isinstance(one, int | None) for one in (self.min, self.max, self.step))

    def grid(self) -> tuple[int | float, ...]:
        """Return its steps, or a few numbers that are spread evenly."""
        if self.min == self.max:
            return (self.min,)
        step = self.step or (1 if self.is_whole and self.max - self.min < _GRID else None)
        if step:
            many = floor((self.max - self.min) / step + 1e-9) + 1
            return tuple(self.min + number * step for number in range(many))
        shares = [number / (_GRID - 1) for number in range(_GRID)]
        spread = [self.at(share) for share in shares]
        return tuple(dict.fromkeys(round(one) if self.is_whole else one for one in spread))

    def at(self, share: float) -> float:
        """Return the number so far along the way from `min` (0) to `max` (1)."""
        if self.log:
            return float(self.min * (self.max / self.min) ** share)
        return self.min + (self.max - self.min) * share

    def holds(self, value: Any) -> bool:
        """Whether a value is one of its numbers."""
        if isinstance(value, bool) or not isinstance(value, int if self.is_whole else int | float):
            return False
        if not self.min <= value <= self.max:
            return False
        steps = (value - self.min) / self.step if self.step else 0
        return abs(steps - round(steps)) < 1e-9


Domain = tuple[Any, ...] | Range
"""Values that are named, or a range of numbers."""


def read_space(path: Path, recipe: Recipe) -> dict[str, Domain]:
    """Read a space from YAML: dotted recipe key -> list, or {min, max, step | log}.

    Raises ConfigError that names the file, the key and what is wrong with it; a key or a value that
    the recipe does not know is told as an override's would be.
    """
    try:
        tree = parse_yaml(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise ConfigError(f"--space {path}: no such file") from None
    except ValueError as error:
        raise ConfigError(f"--space {path}: not valid YAML: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(
            f"--space {path}: a space is a mapping of recipe keys to lists or ranges, as "
            f"students.{recipe.student}.decoder.layers: [1, 2]"
        )
    space = {key: _domain(f"--space {path}: {key}", value) for key, value in tree.items()}
    if not space:
        raise ConfigError(f"--space {path}: the space is empty: it has no key")
    for key, domain in space.items():
        _check_key(path, recipe, key, domain)
    return space


def _domain(where: str, value: Any) -> Domain:
    if isinstance(value, list):
        if not value:
            raise ConfigError(f"{where}: the list is empty, so the space is")
        return tuple(dict.fromkeys(_frozen(where, one) for one in value))
    if isinstance(value, Mapping):
        return validated(Range, value, where)
    raise ConfigError(f"{where}: must be a list of values or a range {{min, max, step | log}}")


def _frozen(where: str, value: Any) -> Any:
    if isinstance(value, dict):
        raise ConfigError(f"{where}: a space's values are no sections of keys, as {value} is")
    return tuple(_frozen(where, one) for one in value) if isinstance(value, list) else value


def _check_key(path: Path, recipe: Recipe, key: str, domain: Domain) -> None:
    """Raise what the recipe says to every value of a key, unless another key could mend it."""
    values = domain.grid() if isinstance(domain, Range) else domain
    for value in values:
        try:
            overridden(recipe, {key: value})
        except ConfigError as error:
            told = str(error)
            if "unknown key" in told or f" {key}: " in told or f" {key}." in told:
                raise ConfigError(f"--space {path}: {told.partition(': ')[2]}") from None
