"""Student shapes: the decoder's depth, width and feed-forward width. The encoder stays."""

import random
from typing import Any

from ray import tune

from tune_spaces.parts import PARTS, keeps_widths
from wd.config import Recipe


def student_shape(recipe: Recipe, generator: random.Random) -> dict[str, Any]:
    """Return the space of decoders that are shallower than the teacher's, and at most as wide.

    Heads keep the teacher's size, so that they divide every width; a student with another width
    than its encoder does not tie all three tables.
    """
    student = f"students.{recipe.student}"
    teacher = recipe.teacher.shape.decoder
    head_size = teacher.d_model // teacher.heads
    heads, width = f"{student}.decoder.heads", f"{student}.decoder.d_model"
    space = {
        f"{student}.decoder.layers": tune.choice(range(1, max(2, teacher.layers))),
        heads: tune.choice(range(max(1, teacher.heads // 4), teacher.heads + 1)),
        width: tune.sample_from(lambda point: point[heads] * head_size),
        f"{student}.decoder.feed_forward": tune.choice(
            sorted({max(1, teacher.feed_forward // part) for part in (4, 2, 1)})
        ),
    }
    shape = recipe.students[recipe.student].of(recipe.teacher.shape)
    if shape.tied_embeddings == "all":
        space[f"{student}.tied_embeddings"] = tune.sample_from(
            lambda point: "all" if point[width] == shape.encoder.d_model else "decoder"
        )
    if recipe.generator.grouping.decoder_subsets is not None:
        # They were meant for the recipe's own depth.
        space["generator.grouping.decoder_subsets"] = None
    for part in PARTS:
        if getattr(recipe.generator.grouping, part) == "copied":  # where it can be
            space[f"generator.grouping.{part}"] = tune.sample_from(
                lambda point: "copied" if keeps_widths(recipe, point) else "generated"
            )
    return space
