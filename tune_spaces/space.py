"""What a search space is: independent parameters, and the recipe keys that follow from them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wd.config import Domain, Range, Recipe

Values = Mapping[str, Any]
"""Parameter, or dotted recipe key -> value."""
HIDDEN = "space."
"""Parameters that begin so are no recipe keys; keys are derived from them."""


@dataclass(frozen=True)
class Space:
    """Every parameter is free of the others, so that a sampler may learn about each."""

    parameters: Mapping[str, Domain]
    derived: Mapping[str, Callable[[Values], Any]] = field(default_factory=dict)
    """Recipe key -> its value, from the parameters and the keys that were derived before."""
    own: Mapping[str, Callable[[Recipe], Any]] = field(default_factory=dict)
    """Hidden parameter -> the value that stands for a recipe as it is."""

    def __or__(self, other: "Space") -> "Space":
        """Return both spaces as one; keys of `other` replace those of this one."""
        parameters = {**self.parameters, **other.parameters}
        kept = {key: make for key, make in self.derived.items() if key not in other.parameters}
        return Space(parameters, {**kept, **other.derived}, {**self.own, **other.own})

    def point(self, values: Values) -> dict[str, Any]:
        """Return the overrides that values of the parameters mean."""
        point = dict(values)
        for key, make in self.derived.items():
            point[key] = make(point)
        return {key: value for key, value in point.items() if not key.startswith(HIDDEN)}

    def values_of(self, recipe: Recipe, model: Values) -> dict[str, Any] | None:
        """Return the parameters of a recipe as it is; None if it is no point of the space.

        `model` holds what the recipe's tree has for every key, dotted.
        """
        found = {}
        for name, domain in self.parameters.items():
            value = self.own[name](recipe) if name in self.own else model.get(name)
            if not (domain.holds(value) if isinstance(domain, Range) else value in domain):
                return None
            found[name] = value
        return found
