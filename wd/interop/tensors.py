"""The tensors of another project's model, each of which is taken once, and none left over."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from wd.data.schema import BOS, PAD
from wd.errors import ArtifactError
from wd.interop.vocabulary import Vocabulary

FORBIDDEN = -100.0
"""What is added to the logit of a piece that is never said; a softmax leaves nothing of it, and a
loss over all the vocabulary stays in bounds."""


class Tensors:
    """Named tensors that are taken one by one."""

    def __init__(self, tensors: Mapping[str, Tensor], where: str) -> None:
        self._left = dict(tensors)
        self._where = where
        self.count = len(tensors)
        """How many there are in all."""

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def take(self, name: str) -> Tensor:
        """Return a tensor in float32; raises ArtifactError if there is no such, or no longer."""
        if name not in self._left:
            raise ArtifactError(f"{self._where}: it lacks the tensor {name}")
        return self._left.pop(name).float()

    def table(self, names: Sequence[str]) -> Tensor:
        """Return the tensor that is there under one or more of these names.

        Raises ArtifactError if there is none, or if they differ.
        """
        found = {name: self.take(name) for name in names if name in self}
        if not found:
            raise ArtifactError(f"{self._where}: it lacks the tensor {names[0]}")
        (first, table), *others = found.items()
        for name, other in others:
            if not torch.equal(table, other):
                raise ArtifactError(
                    f"{self._where}: {first} and {name} are one table by the model's config, "
                    "but differ"
                )
        return table

    def drop(self, names: Iterable[str]) -> None:
        """Take what says nothing of the model, where it is there."""
        for name in names:
            self._left.pop(name, None)

    def check_all_taken(self) -> None:
        """Raise ArtifactError that names what is left over."""
        if self._left:
            listed = ", ".join(sorted(self._left)[:5]) + (", ..." if len(self._left) > 5 else "")
            raise ArtifactError(
                f"{self._where}: {len(self._left)} of its {self.count} tensors have no place in "
                f"the model that its config tells of: {listed}"
            )


def in_our_order(table: Tensor, vocabulary: Vocabulary, what: str) -> Tensor:
    """Return a table's rows in the order of our ids; what has none there is zero.

    Raises ArtifactError, which says what it is, if the table is not of this vocabulary.
    """
    if len(table) != len(vocabulary.listed):
        raise ArtifactError(
            f"{what} has {len(table)} rows, its vocabulary {len(vocabulary.listed)} pieces: they "
            "were not made for each other"
        )
    none = len(table)
    with_none = torch.cat([table, table.new_zeros(1, *table.shape[1:])])
    return with_none[[none if row is None else row for row in vocabulary.rows]]


def words_bias(bias: Tensor, vocabulary: Vocabulary, what: str) -> Tensor:
    """Return the words' bias in the order of our ids; what is never said is forbidden."""
    ordered = in_our_order(bias, vocabulary, what)
    ordered[[PAD, BOS]] = FORBIDDEN
    return ordered
