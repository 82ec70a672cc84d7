"""Search spaces over dotted recipe overrides; every point they hold is a possible student.

A space is a function of (recipe, random generator) to a mapping of recipe key -> `ray.tune`
domain, sized relative to the recipe's teacher. Keys that depend on others come after them.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tune_spaces.grouping import grouping
from tune_spaces.optimization import optimization
from tune_spaces.parts import parts
from tune_spaces.student_shape import student_shape
from wd.config import Recipe
from wd.errors import ConfigError, unknown

Space = Callable[[Recipe, random.Random], dict[str, Any]]
SPACES: Mapping[str, Space] = {
    "student_shape": student_shape,
    "grouping": grouping,
    "parts": parts,
    "optimization": optimization,
}


def search_space(recipe: Recipe, names: Sequence[str], seed: int) -> dict[str, Any]:
    """Return the spaces of these names as one.

    Raises ConfigError for a name that does not exist, and for none at all.
    """
    for name in names:
        if name not in SPACES:
            raise ConfigError(unknown("--space", name, SPACES))
    if not names:
        raise ConfigError(f"--space: name at least one of {', '.join(SPACES)}")
    generator = random.Random(seed)
    chosen = [make for name, make in SPACES.items() if name in names]
    return {key: domain for make in chosen for key, domain in make(recipe, generator).items()}
