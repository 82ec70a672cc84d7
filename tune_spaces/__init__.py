"""Search spaces over dotted recipe overrides, sized relative to the recipe's teacher.

A space is a function of the recipe, or a YAML file of one's own. Most points of the shipped ones
are possible students; whoever draws from them checks that, as the recipe and the generator do.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tune_spaces.grouping import grouping
from tune_spaces.optimization import optimization
from tune_spaces.parts import parts
from tune_spaces.space import HIDDEN, Space
from tune_spaces.student_shape import student_shape
from wd.config import Recipe, read_space
from wd.errors import ConfigError, unknown

__all__ = ["HIDDEN", "SPACES", "Space", "search_space"]

SPACES: Mapping[str, Callable[[Recipe], Space]] = {
    "student_shape": student_shape,
    "grouping": grouping,
    "parts": parts,
    "optimization": optimization,
}
_JOINT = "joint"
"""All of them at once."""


def search_space(recipe: Recipe, names: Sequence[str]) -> Space:
    """Return the spaces of these names as one; a name that ends in .yaml is a file.

    Raises ConfigError for a name that does not exist, for none at all, and as `read_space` does.
    """
    files = [Path(name) for name in names if name.endswith((".yaml", ".yml"))]
    named = [name for name in names if not name.endswith((".yaml", ".yml"))]
    for name in named:
        if name not in (*SPACES, _JOINT):
            raise ConfigError(unknown("--space", name, (*SPACES, _JOINT, "FILE.yaml")))
    if not names:
        raise ConfigError(f"--space: name at least one of {', '.join(SPACES)}, {_JOINT}, FILE.yaml")
    whole = Space({})
    for name, make in SPACES.items():
        if name in named or _JOINT in named:
            whole = whole | make(recipe)
    for file in files:
        whole = whole | Space(read_space(file, recipe))
    return whole
