"""How far a student's layer outputs are from its teacher's.

Shapes: B sentences, P positions, W a teacher's and w a student's width.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional

from wd.config import GroupingConfig, ModelConfig
from wd.generator.grouping import STACKS, Stack, stack_subsets, subset_bounds
from wd.model.transformer import Transformer

States = dict[Stack, list[Tensor]]
"""The output of each layer of a stack, first layer first."""
Counterparts = dict[Stack, tuple[int, ...]]
"""For each student layer of a stack, the number of the teacher layer to compare it with."""


def counterparts(
    teacher: ModelConfig, student: ModelConfig, grouping: GroupingConfig
) -> Counterparts:
    """Return the last teacher layer of each subset: where the student layer's work is done.

    Raises ConfigError if the subsets do not fit the teacher and the student.
    """
    subsets = stack_subsets(teacher, student, grouping)
    return {stack: tuple(end - 1 for _, end in subset_bounds(subsets[stack])) for stack in STACKS}


@contextmanager
def recorded(model: Transformer) -> Iterator[States]:
    """Yield what the layers of `model` put out, filled in as it runs, however it is called."""
    states: States = {stack: [] for stack in STACKS}
    hooks = [
        layer.register_forward_hook(lambda *call, outputs=states[stack]: outputs.append(call[-1]))
        for stack in STACKS
        for layer in getattr(model, stack).layers
    ]
    try:
        yield states
    finally:
        for hook in hooks:
            hook.remove()


def state_distance(
    student: Sequence[Tensor], teacher: Sequence[Tensor], inside_BP: Tensor
) -> Tensor:
    """Return the distance per sentence [B], float32: the mean over positions and pairs of layers.

    `inside_BP` is false at padding, which counts nothing; a sentence of nothing else is at 0.
    Layers of one width are compared state by state, layers of two by what their positions have in
    common.
    """
    # Similarities lie between -1 and 1, and bfloat16 has only three digits for their differences.
    with torch.autocast(inside_BP.device.type, enabled=False):
        distances = [
            (_error if ours.shape == theirs.shape else _dissimilarity)(
                ours.float(), theirs.float(), inside_BP
            )
            for ours, theirs in zip(student, teacher, strict=True)
        ]
    return torch.stack(distances).mean(0)


def _error(student_BPW: Tensor, teacher_BPW: Tensor, inside_BP: Tensor) -> Tensor:
    """Return the mean squared error, relative to the teacher's mean square at the position."""
    error_BP = (student_BPW - teacher_BPW).square().mean(-1)
    error_BP = error_BP / teacher_BPW.square().mean(-1).clamp_min(1e-6)
    return (error_BP * inside_BP).sum(1) / inside_BP.sum(1).clamp_min(1)


def _dissimilarity(student_BPw: Tensor, teacher_BPW: Tensor, inside_BP: Tensor) -> Tensor:
    """Return the mean squared difference of the positions' cosines (Tung and Mori 2019, section 3).

    They compare the images of a batch; the positions of a sentence do not depend on its batch.
    """
    difference_BPP = _cosines(student_BPw) - _cosines(teacher_BPW)
    pairs_BPP = inside_BP[:, :, None] & inside_BP[:, None]
    return (difference_BPP.square() * pairs_BPP).sum((1, 2)) / pairs_BPP.sum((1, 2)).clamp_min(1)


def _cosines(x_BPW: Tensor) -> Tensor:
    unit_BPW = functional.normalize(x_BPW, dim=-1)
    return unit_BPW @ unit_BPW.transpose(1, 2)
