"""Grouping: which teacher layers go together, what they share, and which maps are learned."""

from collections.abc import Sequence
from math import comb
from typing import Any, get_args

from tune_spaces.space import HIDDEN, Space, Values
from wd.config import Domain, GroupingConfig, Range, Recipe
from wd.errors import ConfigError

_CHOICES = ("sharing", "width_maps", "learned_gates")
_LEARNED_MAPS = (("input", "output", "layer"), ("input", "output"), ("layer",))


def grouping(recipe: Recipe) -> Space:
    """Return the space of sharing, maps and gates, and, per stack, of subset sizes.

    Subset sizes are a composition of the teacher's layers with one part per student layer. They are
    told by a share from 0 to 1: the place in the list of all compositions, which are equally
    likely. Raises ConfigError if the student is deeper than its teacher.
    """
    parameters: dict[str, Domain] = {
        f"generator.grouping.{key}": tuple(get_args(GroupingConfig.model_fields[key].annotation))
        for key in _CHOICES
    }
    parameters["generator.grouping.learned_maps"] = _LEARNED_MAPS
    derived: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for stack in ("encoder", "decoder"):
        many = getattr(recipe.teacher.shape, stack).layers
        if _layers(recipe, stack) > many:
            raise ConfigError(
                f"students.{recipe.student}.{stack}.layers: {_layers(recipe, stack)}, but the "
                f"teacher has only {many} layers to group"
            )
        share = f"{HIDDEN}{stack}_subsets"
        parameters[share] = Range(min=0.0, max=1.0)
        derived[f"generator.grouping.{stack}_subsets"] = _subsets(recipe, stack, many, share)
        own[share] = _own(stack, many)
    return Space(parameters, derived, own)


def _layers(recipe: Recipe, stack: str) -> int:
    shape = recipe.students[recipe.student].of(recipe.teacher.shape)
    layers: int = getattr(shape, stack).layers
    return layers


def _subsets(recipe: Recipe, stack: str, many: int, share: str) -> Any:
    """Return the function from a point to the subset sizes of a stack."""
    key, few = f"students.{recipe.student}.{stack}.layers", _layers(recipe, stack)

    def subsets(point: Values) -> list[int]:
        parts = point.get(key, few)
        if parts > many:  # refused elsewhere, by the rule that says so
            return [1] * parts
        return composition(many, parts, point[share])

    return subsets


def _own(stack: str, many: int) -> Any:
    """Return the function from a recipe to the share that stands for its subsets."""

    def own(recipe: Recipe) -> float:
        parts = _layers(recipe, stack)
        given = getattr(recipe.generator.grouping, f"{stack}_subsets")
        return share_of(given or even(many, parts))

    return own


def even(total: int, parts: int) -> list[int]:
    """Return sizes that differ by one at most, the larger ones first."""
    return [total // parts + (number < total % parts) for number in range(parts)]


def composition(total: int, parts: int, share: float) -> list[int]:
    """Return `parts` positive integers that sum to `total`: those at a share of the list of all.

    1 <= parts <= total, 0 <= share <= 1; the list is in the order of the numbers.
    """
    count = comb(total - 1, parts - 1)
    rank = min(int(share * count), count - 1)
    sizes = []
    for left in range(parts - 1, 0, -1):
        size = 1
        while rank >= (below := comb(total - size - 1, left - 1)):
            rank -= below
            size += 1
        sizes.append(size)
        total -= size
    return [*sizes, total]


def share_of(sizes: Sequence[int]) -> float:
    """Return the middle of the shares for which `composition` returns these sizes."""
    total, parts, rank = sum(sizes), len(sizes), 0
    for left, size in zip(range(parts - 1, 0, -1), sizes, strict=False):
        rank += sum(comb(total - less - 1, left - 1) for less in range(1, size))
        total -= size
    return (rank + 0.5) / comb(sum(sizes) - 1, parts - 1)
