"""Layer copy, the baseline: a student that starts from some of its teacher's layers."""

from collections.abc import Mapping

from torch import Tensor

from wd.config import GroupingConfig, ModelConfig
from wd.generator.grouping import subset_bounds, weight_classes


def copied_weights(
    teacher: ModelConfig,
    student: ModelConfig,
    weights: Mapping[str, Tensor],
    start: Mapping[str, Tensor],
    grouping: GroupingConfig,
) -> dict[str, Tensor]:
    """Return `start` with every weight replaced that has a teacher's weight of its shape.

    A student layer copies the first teacher layer of its subset. Raises ConfigError if the
    student cannot have this teacher.
    """
    copied = dict(start)
    for each in weight_classes(teacher, student, grouping):
        if each.teacher_shape == each.student_shape:
            firsts = (first for first, _ in subset_bounds(each.subsets))
            copied |= {
                name: weights[each.teacher[first]].clone()
                for name, first in zip(each.student, firsts, strict=True)
            }
    return copied
