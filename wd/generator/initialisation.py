"""Where the generator's parameters start.

A width map [A, a] takes an axis of the teacher (A channels) to the student's (a). Read as a basis,
its columns are the student's channels, told in the teacher's.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from wd.config import ModelConfig
from wd.generator.grouping import WeightClass

SMALL = 1e-3
"""Below this |T|, T / tanh(T) is taken from its series, since 0 / 0 is undefined."""

Mixed = Mapping[str, Tensor]
"""Class name -> its teacher instances after the layer map as it starts: [S, O, I] or [S, O]."""


def gate(t: Tensor, choice: str) -> Tensor:
    """Return the start of W for the transformed weights T, of T's shape.

    `reference`: ones. `exact`: T / tanh(T), so that tanh(T) * W + 0 is T.
    """
    if choice == "reference":
        return torch.ones_like(t)
    return torch.where(t.abs() < SMALL, 1 + t.square() / 3, t / t.tanh())


class WidthStart:
    """The start of every width map, by the choice of `InitialisationConfig.maps`."""

    def __init__(
        self,
        choice: str,
        classes: Sequence[WeightClass],
        mixed: Mixed,
        teacher: ModelConfig,
        student: ModelConfig,
    ) -> None:
        self._choice = choice
        self._classes = classes
        self._mixed = mixed
        self._shapes = teacher, student
        self._bases: dict[str, Tensor] = {}

    def __call__(self, weights: WeightClass, dimension: int) -> Tensor:
        """Return the start [A, a] for one dimension (0: output) of a class."""
        rows = weights.teacher_shape[dimension]
        columns = weights.student_shape[dimension]
        choice = self._choice
        if choice == "xavier":
            return nn.init.xavier_normal_(torch.empty(rows, columns))
        if choice == "identity" or rows == columns:
            return torch.eye(rows, columns)
        if choice == "svd" and len(weights.teacher_shape) == 2:
            return principal([_rows(self._mixed[weights.name], dimension)], columns)
        basis = self._basis(weights.axes[dimension], rows, columns)
        # In another basis a diagonal matrix of gains is not diagonal; this is its diagonal.
        return basis.square() if weights.kind == "gain" else basis

    def _basis(self, axis: str, rows: int, columns: int) -> Tensor:
        """Return one basis [A, a] for all the weights along an axis."""
        if axis not in self._bases:
            users = [
                _rows(self._mixed[each.name], dimension)
                for each in self._classes
                for dimension, name in enumerate(each.axes)
                if name == axis and len(each.axes) == 2
            ]
            self._bases[axis] = self._fitted(axis, users, rows, columns)
        return self._bases[axis]

    def _fitted(self, axis: str, users: list[Tensor], rows: int, columns: int) -> Tensor:
        stack, _, kind = axis.partition(".")
        if kind == "inner":
            return selected(users, columns)
        heads = [getattr(shape, stack).heads for shape in self._shapes]
        if kind == "model" or heads[0] != heads[1]:
            return principal(users, columns)
        # Attention mixes channels within a head only.
        blocks = zip(*(user.chunk(heads[0], dim=1) for user in users), strict=True)
        return torch.block_diag(*(principal(list(each), columns // heads[0]) for each in blocks))


def principal(users: Sequence[Tensor], columns: int) -> Tensor:
    """Return the orthonormal basis [A, a] onto which weights [N, A] project with least loss.

    Every user counts alike, whatever its norm. Beyond A columns there are zeros.
    """
    gram = sum(user.T @ user / user.square().sum().clamp_min(1e-12) for user in users)
    assert isinstance(gram, Tensor)
    _, vectors = torch.linalg.eigh(gram)
    basis = torch.zeros(len(gram), columns)
    kept = vectors.flip(1)[:, :columns]
    basis[:, : kept.shape[1]] = kept
    return basis


def selected(users: Sequence[Tensor], columns: int) -> Tensor:
    """Return the choice [A, a] of the channels of greatest norm, in all weights together.

    Between the feed-forward maps an activation acts on each channel alone, so channels can be
    left out but not mixed. Beyond A columns there are zeros.
    """
    importance = torch.stack([user.square().sum(0).log() for user in users]).sum(0)
    order = importance.argsort(descending=True)
    return torch.eye(len(importance), columns)[order.argsort()]


def _rows(mixed: Tensor, dimension: int) -> Tensor:
    """Return matrices [S, O, I] as rows [N, A] along one of their dimensions."""
    return mixed.movedim(dimension + 1, -1).flatten(0, -2)
