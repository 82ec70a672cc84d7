"""Where the generator's parameters start.

A width map [A, a] takes an axis of the teacher (A channels) to the student's (a). Read as a basis,
its columns are the student's channels, told in the teacher's.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from wd.config import ModelConfig
from wd.generator.grouping import WeightClass

TIED = 1 - 1e-6
"""A share of a column's greatest entry from which on another counts as great."""

SMALL = 1e-3
"""Below this |T|, T / tanh(T) is taken from its series, since 0 / 0 is undefined."""

Mixed = Mapping[str, Tensor]
"""Class name -> its teacher instances after the layer map as it starts: [S, O, I] or [S, O]."""


def gate(t: Tensor, choice: str) -> Tensor:
    """Return the start of W for the transformed weights T, of T's shape.

    `exact`: T / tanh(T), so that tanh(T) * W + 0 is T. Otherwise ones.
    """
    if choice != "exact":
        return torch.ones_like(t)
    return torch.where(t.abs() < SMALL, 1 + t.square() / 3, t / t.tanh())


def shift(t: Tensor, choice: str) -> Tensor:
    """Return the start of B for the transformed weights T, of T's shape.

    `shift`: T - tanh(T), so that tanh(T) * 1 + B is T. Otherwise zeros.
    """
    return t - t.tanh() if choice == "shift" else torch.zeros_like(t)


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
        self._heads: dict[str, list[int]] = {}

    def __call__(self, weights: WeightClass, dimension: int) -> Tensor:
        """Return the start [A, a] for one dimension (0: output) of a class."""
        rows = weights.teacher_shape[dimension]
        columns = weights.student_shape[dimension]
        choice = self._choice
        if choice == "xavier":
            return nn.init.xavier_normal_(torch.empty(rows, columns))
        if rows < columns:
            return widened(rows, columns, weights.kind)
        if choice == "identity" or rows == columns:
            return torch.eye(rows, columns)
        if choice == "svd" and len(weights.teacher_shape) == 2:
            return principal([_rows(self._mixed[weights.name], dimension)], columns)
        basis = self._basis(weights.axes[dimension], columns)
        # In another basis a diagonal matrix of gains is not diagonal; this is its diagonal.
        return basis.square() if weights.kind == "gain" else basis

    def _basis(self, axis: str, columns: int) -> Tensor:
        """Return one basis [A, a] for all the weights along an axis."""
        if axis not in self._bases:
            self._bases[axis] = self._fitted(axis, self._users(axis), columns)
        return self._bases[axis]

    def _users(self, axis: str) -> list[Tensor]:
        """Return the matrices along an axis, as rows [N, A]."""
        return [
            _rows(self._mixed[each.name], dimension)
            for each in self._classes
            for dimension, name in enumerate(each.axes)
            if name == axis and len(each.axes) == 2
        ]

    def _fitted(self, axis: str, users: list[Tensor], columns: int) -> Tensor:
        block, _, kind = axis.rpartition(".")
        if kind == "inner":
            return selected(users, columns)
        if kind == "model":
            return principal(users, columns)
        stack = block.partition(".")[0]
        heads, fewer = (getattr(shape, stack).heads for shape in self._shapes)
        size, smaller = users[0].shape[1] // heads, columns // fewer
        if fewer > heads or smaller > size:  # the student's heads cannot be parts of the teacher's
            return principal(users, columns)
        return principal_in_heads(users, self._ranked(block, heads)[:fewer], size, smaller)

    def _ranked(self, block: str, heads: int) -> list[int]:
        """Return an attention block's heads, the strongest first.

        There is one ranking for queries and values: a head that attends as one of the teacher's
        and reads as another does what neither did.
        """
        if block not in self._heads:
            users = [*self._users(f"{block}.queries"), *self._users(f"{block}.values")]
            norms = [torch.stack([part.norm() for part in user.chunk(heads, 1)]) for user in users]
            self._heads[block] = _strongest(torch.stack(norms, 1))
        return self._heads[block]


def widened(rows: int, columns: int, kind: str) -> Tensor:
    """Return the identity [A, a], a > A, and something in the channels that the teacher lacks.

    Were they zero on both sides of an axis, no gradient would ever reach them. They start as
    small random mixtures; gains, which are near 1, as those of other channels.
    """
    more = columns - rows
    if kind == "gain":
        extra = torch.eye(rows)[:, torch.arange(more) % rows]
    else:
        extra = 0.1 * rows**-0.5 * torch.randn(rows, more)
    return torch.cat([torch.eye(rows), extra], 1)


def principal(users: Sequence[Tensor], columns: int) -> Tensor:
    """Return the orthonormal basis [A, a], a <= A, onto which weights [N, A] project best.

    Every user counts alike, whatever its norm. A basis vector may as well have the other sign: its
    greatest entry, of several the first, is positive.
    """
    channels = users[0].shape[1]
    gram = torch.zeros(channels, channels, dtype=torch.float64)
    for user in (each.double() for each in users):
        gram += user.T @ user / user.square().sum().clamp_min(1e-12)
    _, vectors = torch.linalg.eigh(gram)
    basis = vectors.flip(1)[:, :columns]
    sizes = basis.abs()
    greatest = (sizes >= TIED * sizes.amax(0)).int().argmax(0, keepdim=True)
    return (basis * basis.gather(0, greatest).sign()).to(users[0].dtype)


def principal_in_heads(
    users: Sequence[Tensor], kept: Sequence[int], size: int, smaller: int
) -> Tensor:
    """Return a basis [A, a] of the kept attention heads, each of which stays by itself.

    Of every head's `size` channels it makes `smaller`; heads keep their order.
    """
    basis = torch.zeros(users[0].shape[1], len(kept) * smaller)
    for student_head, teacher_head in enumerate(sorted(kept)):
        rows = slice(teacher_head * size, (teacher_head + 1) * size)
        columns = slice(student_head * smaller, (student_head + 1) * smaller)
        basis[rows, columns] = principal([user[:, rows] for user in users], smaller)
    return basis


def selected(users: Sequence[Tensor], columns: int) -> Tensor:
    """Return the choice [A, a], a <= A, of the channels of greatest norm, in all weights together.

    Between the feed-forward maps an activation acts on each channel alone, so channels can be
    left out but not mixed.
    """
    norms = torch.stack([user.norm(dim=0) for user in users], 1)
    return torch.eye(len(norms))[:, _strongest(norms)[:columns]]


def _strongest(norms: Tensor) -> list[int]:
    """Return channels or heads by the product of their norms [them, users], largest first."""
    products = norms.log().sum(1)
    return list(products.argsort(descending=True, stable=True).tolist())


def _rows(mixed: Tensor, dimension: int) -> Tensor:
    """Return matrices [S, O, I] as rows [N, A] along one of their dimensions."""
    return mixed.movedim(dimension + 1, -1).flatten(0, -2)
