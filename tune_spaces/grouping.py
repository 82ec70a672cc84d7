"""Grouping: what the generator's maps are shared over, and which teacher layers go together."""

import random
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from ray import tune

from wd.config import Recipe
from wd.errors import ConfigError


def grouping(recipe: Recipe, generator: random.Random) -> dict[str, Any]:
    """Return the space of sharing and, per stack, of subset sizes.

    Subset sizes are a composition of the teacher's layers with one part per student layer, all
    compositions being equally likely. An encoder as deep as the teacher's has nothing to choose.
    Raises ConfigError if the student is deeper than its teacher.
    """
    space: dict[str, Any] = {
        "generator.grouping.sharing": tune.choice(["class", "subset", "stack"])
    }
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
