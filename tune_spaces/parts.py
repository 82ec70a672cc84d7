"""Parts: whether norms, biases and embeddings are generated, copied or started fresh."""

import random
from collections.abc import Mapping
from functools import partial
from typing import Any, get_args

from ray import tune

from wd.config import Recipe, overridden
from wd.config.generation import Part

PARTS = ("norms", "biases", "embeddings")


def parts(recipe: Recipe, generator: random.Random) -> dict[str, Any]:
    """Return the space of at most one part that is not generated.

    Parts are copied only where the student has its teacher's widths.
    """
    chosen = [part for part in PARTS if part != "biases" or recipe.teacher.shape.biases]
    last = len(chosen) - 1

    def origin(number: int, point: Mapping[str, Any]) -> str:
        before = [point[f"generator.grouping.{part}"] for part in chosen[:number]]
        # Every part, and none, is as likely to be the other one.
        if set(before) - {"generated"} or generator.randrange(last - number + 2) > 0:
            return "generated"
        copies = keeps_widths(recipe, point)
        return generator.choice([one for one in get_args(Part)[1:] if copies or one != "copied"])

    return {
        f"generator.grouping.{part}": tune.sample_from(partial(origin, number))
        for number, part in enumerate(chosen)
    }


def keeps_widths(recipe: Recipe, point: Mapping[str, Any]) -> bool:
    """Whether all widths of the point's student are its teacher's."""
    shape = {key: value for key, value in point.items() if key.startswith("students.")}
    teacher, student = recipe.teacher_model, overridden(recipe, shape).student_model
    widths = [
        (getattr(model, stack).d_model, getattr(model, stack).feed_forward)
        for model in (teacher, student)
        for stack in ("encoder", "decoder")
    ]
    return widths[:2] == widths[2:]
