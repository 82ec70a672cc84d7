"""Parts: whether norms, biases and embeddings are generated, copied or started fresh."""

from collections.abc import Mapping
from typing import Any

from tune_spaces.space import HIDDEN, Space, Values
from wd.config import Recipe

PARTS = ("norms", "biases", "embeddings")
_CHOICE = f"{HIDDEN}part"


def parts(recipe: Recipe) -> Space:
    """Return the space of at most one part that is not generated.

    Parts are copied only where the student has its teacher's widths; elsewhere they are generated.
    """
    chosen = [part for part in PARTS if part != "biases" or recipe.teacher.shape.biases]
    others = tuple(f"{part} {origin}" for part in chosen for origin in ("copied", "fresh"))

    def origin(part: str) -> Any:
        def of(point: Values) -> str:
            name, _, how = point[_CHOICE].partition(" ")
            if name != part or (how == "copied" and not keeps_widths(recipe, point)):
                return "generated"
            return str(how)

        return of

    def own(given: Recipe) -> str:
        found = [(part, getattr(given.generator.grouping, part)) for part in chosen]
        other = [f"{part} {how}" for part, how in found if how != "generated"]
        return " and ".join(other) or "generated"

    derived = {f"generator.grouping.{part}": origin(part) for part in chosen}
    return Space({_CHOICE: ("generated", *others)}, derived, {_CHOICE: own})


def keeps_widths(recipe: Recipe, point: Mapping[str, Any]) -> bool:
    """Whether all widths of the point's student are its teacher's."""
    student = recipe.students[recipe.student]
    for stack in ("encoder", "decoder"):
        teacher, given = getattr(recipe.teacher.shape, stack), getattr(student, stack)
        for key in ("d_model", "feed_forward"):
            whole = getattr(teacher, key)
            own = getattr(given, key) or whole
            if point.get(f"students.{recipe.student}.{stack}.{key}", own) != whole:
                return False
    return True
