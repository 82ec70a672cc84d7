"""The rungs of a ladder: ways to make a student, and the recipes that make it so."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from wd.config import InitialisationConfig, Method, Recipe, overridden, parsed_overrides
from wd.config.generation import REFERENCE
from wd.errors import ConfigError, unknown

_OWN = ("fine_tuning.", "generator.", "objective.")
METHODS: tuple[Method, ...] = get_args(Method)
STARTS = (*get_args(InitialisationConfig.model_fields["maps"].annotation), "reference")


@dataclass(frozen=True)
class Rung:
    """A way to make a student."""

    method: Method
    start: str | None = None
    """Of `STARTS`, where it is not the recipe's."""

    @property
    def name(self) -> str:
        """What the ladder calls it."""
        return f"{self.method} ({self.start})" if self.start else self.method

    @property
    def overrides(self) -> dict[str, str]:
        """What it changes in the recipe."""
        if self.start is None:
            return {}
        if self.start == "reference":  # also where the recipe says something else
            return {
                f"generator.{section}.{key}": value
                for section, values in REFERENCE.items()
                for key, value in values.items()
            }
        return {"generator.initialisation.maps": self.start}


@dataclass(frozen=True)
class Place:
    """One student of the ladder."""

    shape: str
    rung: Rung
    seed: int
    own: tuple[str, ...] = ()
    """What its recipe has for its rung alone: overrides as they were given."""

    def recipe(self, recipe: Recipe) -> Recipe:
        """Return the recipe whose run makes it."""
        changes = {"student": self.shape, **seeded(self.seed), **self.rung.overrides}
        return overridden(recipe, parsed_overrides(self.own) | changes)

    def __str__(self) -> str:
        return f"{self.shape}, {self.rung.name}, seed {self.seed}"


def seeded(seed: int) -> dict[str, int]:
    """Return the overrides that give both phases a seed."""
    return {"generator.training.seed": seed, "fine_tuning.seed": seed}


def rungs_of(methods: Sequence[str], starts: Sequence[str]) -> list[Rung]:
    """Return the rungs of method names (none: all; kd is always one) and of WD's further starts.

    Raises ConfigError for an unknown name.
    """
    for method in methods:
        check_name("--method", method, METHODS)
    for start in starts:
        check_name("--start", start, STARTS)
    wanted = {*methods, "kd"} if methods else METHODS
    rungs = [Rung(method) for method in METHODS if method in wanted]
    return rungs + [Rung("wd", start) for start in dict.fromkeys(starts)]


def places_of(
    shapes: Sequence[str], rungs: Sequence[Rung], seeds: int, own: Sequence[str] = ()
) -> list[Place]:
    """Return a ladder's students. `own`: `RUNG:KEY=VALUE` or `SHAPE/RUNG:KEY=VALUE`.

    Raises ConfigError for a rung or a shape that the ladder has not, and for a key that is not of
    a student's training.
    """
    settings: dict[tuple[str, str], list[str]] = {}
    for text in own:
        scope, _, override = text.partition(":")
        *shape, rung = scope.split("/", 1)
        check_name("--set", rung, [one.name for one in rungs])
        for each in shape:
            check_name("--set", each, shapes)
        fixed = seeded(1) | next(one for one in rungs if one.name == rung).overrides
        if override.partition("=")[0] in fixed:
            raise ConfigError(f"--set {text}: the ladder sets that itself, for seeds and rungs")
        if not override.startswith(_OWN):
            raise ConfigError(
                f"--set {text}: it is RUNG:KEY=VALUE or SHAPE/RUNG:KEY=VALUE with a key of "
                + ", ".join(section.rstrip(".") for section in _OWN)
            )
        for each in shape or shapes:
            settings.setdefault((each, rung), []).append(override)
    return [
        Place(shape, rung, seed, tuple(settings.get((shape, rung.name), ())))
        for seed in range(1, seeds + 1)
        for shape in shapes
        for rung in rungs
    ]


def check_name(option: str, name: str, known: Sequence[str]) -> None:
    """Raise ConfigError for a name that an option does not know."""
    if name not in known:
        raise ConfigError(unknown(option, name, known))
