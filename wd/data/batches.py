"""Reading shards: which batches an optimiser step takes, and a batch as padded tensors.

Every worker computes the order by itself from seed and epoch, so a run may stop anywhere, and go
on with another number of workers, without a batch lost or seen twice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from os import PathLike
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch.nn import functional

from wd.data.distributions import Words, WordsReader
from wd.data.parts import open_part, whole_part
from wd.data.schema import BOS, PAD, part_files
from wd.errors import DataError

_WINDOW = 16
"""Row groups that are shuffled together; bounds memory on corpora of any size."""


@dataclass(frozen=True)
class Batch:
    """Piece ids, int64, PAD behind each sequence. B sentences, S source, T target positions."""

    source_BS: Tensor
    target_in_BT: Tensor
    """BOS, then the target without its last piece."""
    target_BT: Tensor
    """The target; it ends in EOS."""
    words: Words | None = None
    """The teacher's word distributions over the target, where they are stored."""

    def to(self, device: torch.device) -> "Batch":
        """Copy to a device, without waiting for it."""
        return Batch(
            self.source_BS.to(device, non_blocking=True),
            self.target_in_BT.to(device, non_blocking=True),
            self.target_BT.to(device, non_blocking=True),
            self.words and self.words.to(device),
        )

    def filled(self, multiple: int) -> "Batch":
        """Pad both sides to a multiple of so many positions."""

        def fill(ids_BP: Tensor) -> Tensor:
            return functional.pad(ids_BP, (0, -ids_BP.shape[1] % multiple), value=PAD)

        words = self.words and self.words.filled(-self.target_BT.shape[1] % multiple)
        return Batch(fill(self.source_BS), fill(self.target_in_BT), fill(self.target_BT), words)

    def pinned(self) -> "Batch":
        """Copy to memory that a GPU reads without the CPU's help."""
        return Batch(
            self.source_BS.pin_memory(),
            self.target_in_BT.pin_memory(),
            self.target_BT.pin_memory(),
            self.words and self.words.pinned(),
        )


class ShardReader:
    """All batches of some shard folders, by index.

    `words` are folders of stored distributions, one for each of the shards', or none. Raises
    DataError if there are no batches, ArtifactError if a part cannot be read, or if the
    distributions are not those of the batches.
    """

    def __init__(
        self, folders: Sequence[PathLike[str]], words: Sequence[PathLike[str]] = ()
    ) -> None:
        parts = [part_files(folder) for folder in folders]
        self._parts = [part for inside in parts for part in inside]
        groups: list[tuple[int, int, int]] = []
        counts: list[np.ndarray] = []
        for part, path in enumerate(self._parts):
            file = open_part(path)
            with whole_part(path):
                counts.append(file.read(["tokens"])["tokens"].to_numpy())
            rows = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
            groups += [(part, group, count) for group, count in enumerate(rows)]
        self._groups = groups
        self._starts = np.cumsum([0] + [count for *_, count in groups])
        self.tokens = np.concatenate([*counts, np.zeros(0, np.int32)])
        """Target tokens of each batch, without padding."""
        if not len(self.tokens):
            raise DataError(f"no batches in {', '.join(map(str, folders))}: nothing to train on")
        self._first = np.cumsum([0, *map(len, counts)])
        """Of each part the first batch."""
        self._words = None
        if words:
            beside = zip(words, parts, strict=True)
            stored = [Path(folder, part.name) for folder, inside in beside for part in inside]
            self._words = WordsReader(stored)
            for part, tokens in enumerate(counts):
                self._words.check(part, tokens)
        self._read_group = lru_cache(2 * _WINDOW)(self._load_group)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> Batch:
        """Return a batch on the CPU."""
        group = int(np.searchsorted(self._starts, index, side="right")) - 1
        table, row = self._read_group(group), index - int(self._starts[group])
        batch = _batch(table, row)
        if self._words is None:
            return batch
        part, *_ = self._groups[group]
        inside_BT = batch.target_BT != PAD
        return replace(
            batch, words=self._words.read(part, index - int(self._first[part]), inside_BT)
        )

    def step(self, update: int, batches: int, seed: int) -> list[int]:
        """Return the indices of the batches of optimiser step `update` (from 0)."""
        positions = range(update * batches, (update + 1) * batches)
        return [int(self._order(p // len(self), seed)[p % len(self)]) for p in positions]

    @lru_cache(2)  # noqa: B019 (a reader lives as long as its run)
    def _order(self, epoch: int, seed: int) -> np.ndarray:
        """Permute the row groups, then the batches within windows of them."""
        random = np.random.default_rng([seed, epoch])
        groups = random.permutation(len(self._groups))
        windows = []
        for first in range(0, len(groups), _WINDOW):
            window = [
                np.arange(self._starts[group], self._starts[group + 1])
                for group in groups[first : first + _WINDOW]
            ]
            windows.append(random.permutation(np.concatenate(window)))
        return np.concatenate(windows)

    def _load_group(self, group: int) -> pa.Table:
        part, row_group, _ = self._groups[group]
        return _group(open_part(self._parts[part]), row_group, self._parts[part])


def batches_of(part: Path) -> Iterator[Batch]:
    """Yield a part's batches in order, on the CPU; raises ArtifactError if it cannot be read."""
    file = open_part(part)
    for group in range(file.num_row_groups):
        table = _group(file, group, part)
        yield from (_batch(table, row) for row in range(len(table)))


def _batch(table: pa.Table, row: int) -> Batch:
    source_BS = _padded(table["source"][row].values)
    target_BT = _padded(table["target"][row].values)
    begin = torch.full((len(target_BT), 1), BOS)
    # A PAD that slides into the input stands behind EOS, where nothing is predicted.
    return Batch(source_BS, torch.cat([begin, target_BT[:, :-1]], 1), target_BT)


def _group(file: pq.ParquetFile, group: int, path: Path) -> pa.Table:
    with whole_part(path):
        return file.read_row_group(group)


def _padded(sentences: pa.ListArray) -> Tensor:
    """[B sentences] of int32 lists -> int64 [B, longest]."""
    lengths = np.diff(sentences.offsets.to_numpy())
    inside = np.arange(lengths.max()) < lengths[:, None]
    padded = np.full(inside.shape, PAD, np.int64)
    padded[inside] = sentences.flatten().to_numpy()
    return torch.from_numpy(padded)
