"""Grouping: which teacher layers go together, what they share, and which maps are learned."""

import random
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, get_args

from ray import tune

from wd.config import GroupingConfig, Recipe
from wd.errors import ConfigError

_CHOICES = ("sharing", "width_maps", "learned_gates")
_LEARNED_MAPS = (["input", "output", "layer"], ["input", "output"], ["layer"])


def grouping(recipe: Recipe, generator: random.Random) -> dict[str, Any]:
    """Return the space of sharing, maps and gates, and, per stack, of subset sizes.

    Subset sizes are a composition of the teacher's layers with one part per student layer, all
    compositions being equally likely. An encoder as deep as the teacher's has nothing to choose.
    Raises ConfigError if the student is deeper than its teacher.
    """
    space: dict[str, Any] = {
        f"generator.grouping.{key}": tune.choice(
            list(get_args(GroupingConfig.model_fields[key].annotation))
        )
        for key in _CHOICES
    }
    space["generator.grouping.learned_maps"] = tune.choice(_LEARNED_MAPS)
    student = recipe.students[recipe.student].of(recipe.teacher.shape)
    for stack in ("encoder", "decoder"):
        many = getattr(recipe.teacher.shape, stack).layers
        few = getattr(student, stack).layers
        key = f"students.{recipe.student}.{stack}.layers"
        if few > many:
            raise ConfigError(f"{key}: {few}, but the teacher has only {many} layers to group")
        if stack == "encoder" and few == many:
            continue

        def subsets(
            point: Mapping[str, Any], many: int = many, few: int = few, key: str = key
        ) -> list[int]:
            return composition(many, point.get(key, few), generator)

        space[f"generator.grouping.{stack}_subsets"] = tune.sample_from(subsets)
    return space


def composition(total: int, parts: int, generator: random.Random) -> list[int]:
    """Return `parts` positive integers that sum to `total`; 1 <= parts <= total."""
    cuts = sorted(generator.sample(range(1, total), parts - 1))
    return [after - before for before, after in pairwise([0, *cuts, total])]
