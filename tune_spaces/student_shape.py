"""Student shapes: depth, width, feed-forward width and heads of the decoder and the encoder."""

from collections.abc import Callable
from typing import Any

from tune_spaces.parts import PARTS, keeps_widths
from tune_spaces.space import HIDDEN, Space, Values
from wd.config import Domain, Recipe

_PARTS = (4, 2, 1)
"""A width or a number of heads may be the teacher's over these."""


def student_shape(recipe: Recipe) -> Space:
    """Return the space of students that are nowhere larger than their teacher.

    The decoder may have any depth and, by the size of a head, any width from a quarter of the
    teacher's; the encoder, which costs little at decoding, keeps at least half of either. The
    shapes of all the recipe's students are among the points. A student with two widths does not
    tie all three tables.
    """
    student, teacher = f"students.{recipe.student}", recipe.teacher.shape
    named = [shape.of(teacher) for shape in recipe.students.values()]
    parameters: dict[str, Domain] = {}
    for stack, least in (("encoder", 2), ("decoder", 4)):
        whole = getattr(teacher, stack)
        head = whole.d_model // whole.heads
        first = -(-whole.heads // least)
        shallow = 1 if stack == "decoder" else -(-whole.layers // least)
        values = {
            "layers": range(shallow, whole.layers + 1),
            "d_model": [head * number for number in range(first, whole.heads + 1)],
            "heads": [whole.heads // part for part in _PARTS if whole.heads % part == 0],
            "feed_forward": [max(1, whole.feed_forward // part) for part in _PARTS],
        }
        for key, some in values.items():
            known = {getattr(getattr(shape, stack), key) for shape in named}
            known = {one for one in known if one <= getattr(whole, key)}
            prefix = HIDDEN if key == "heads" else f"{student}."
            parameters[f"{prefix}{stack}.{key}"] = tuple(sorted({*some, *known}))
    own = {f"{HIDDEN}{stack}.heads": _own_heads(stack) for stack in ("encoder", "decoder")}
    return Space(parameters, _derived(recipe, student), own)


def _own_heads(stack: str) -> Callable[[Recipe], int]:
    """Return the function from a recipe to its student's number of heads."""

    def own(recipe: Recipe) -> int:
        shape = recipe.students[recipe.student].of(recipe.teacher.shape)
        heads: int = getattr(shape, stack).heads
        return heads

    return own


def _heads(student: str, stack: str) -> Callable[[Values], int]:
    """Return the function to the most heads that divide a width, up to a wished number."""

    def heads(point: Values) -> int:
        width, wish = point[f"{student}.{stack}.d_model"], point[f"{HIDDEN}{stack}.heads"]
        return next(number for number in range(wish, 0, -1) if width % number == 0)

    return heads


def _derived(recipe: Recipe, student: str) -> dict[str, Any]:
    """Return what follows a shape: heads, tied tables, subsets, which parts can be copied."""
    derived: dict[str, Any] = {
        f"{student}.{stack}.heads": _heads(student, stack) for stack in ("encoder", "decoder")
    }
    shape = recipe.students[recipe.student].of(recipe.teacher.shape)
    if shape.tied_embeddings == "all" or recipe.teacher.shape.tied_embeddings == "all":

        def tied(point: Values) -> str:
            widths = {point[f"{student}.{stack}.d_model"] for stack in ("encoder", "decoder")}
            return "all" if len(widths) == 1 else "decoder"

        derived[f"{student}.tied_embeddings"] = tied
    for stack in ("encoder", "decoder"):
        if getattr(recipe.generator.grouping, f"{stack}_subsets") is not None:
            derived[f"generator.grouping.{stack}_subsets"] = lambda point: None
    for part in PARTS:
        if getattr(recipe.generator.grouping, part) == "copied":  # where it can be

            def origin(point: Values) -> str:
                return "copied" if keeps_widths(recipe, point) else "generated"

            derived[f"generator.grouping.{part}"] = origin
    return derived
