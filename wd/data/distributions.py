"""The teacher's word distributions, stored: of each target piece the most probable words.

A part has the name of the part of batches that it belongs to, and for each of its rows a row, which
is a row group of its own: so much of a batch's distributions is in memory as is used.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch.nn import functional

from wd.data.parts import open_part, whole_part
from wd.errors import ArtifactError

_MOST_IN_16_BITS = 2**16


@dataclass(frozen=True)
class Words:
    """Of each target position the K most probable words: B sentences, T positions.

    At padding both hold zeros.
    """

    pieces_BTK: Tensor
    """Ids, int64."""
    logs_BTK: Tensor
    """Their log-probabilities, float32."""

    def to(self, device: torch.device) -> "Words":
        """Copy to a device, without waiting for it."""
        return Words(
            self.pieces_BTK.to(device, non_blocking=True),
            self.logs_BTK.to(device, non_blocking=True),
        )

    def filled(self, positions: int) -> "Words":
        """Add so many positions of padding."""
        more = (0, 0, 0, positions)
        return Words(functional.pad(self.pieces_BTK, more), functional.pad(self.logs_BTK, more))

    def pinned(self) -> "Words":
        """Copy to memory that a GPU reads without the CPU's help."""
        return Words(self.pieces_BTK.pin_memory(), self.logs_BTK.pin_memory())

    def first(self) -> "Words":
        """Return the first sentence's."""
        return Words(self.pieces_BTK[:1], self.logs_BTK[:1])


def schema(vocabulary: int, precision: str) -> pa.Schema:
    """Return a part's columns: a batch's pieces one after another, K words for each."""
    piece = pa.uint16() if vocabulary <= _MOST_IN_16_BITS else pa.int32()
    log = pa.float16() if precision == "float16" else pa.float32()
    return pa.schema({"tokens": pa.int32(), "pieces": pa.list_(piece), "logs": pa.list_(log)})


def write_words(path: Path, batches: Iterator[tuple[Tensor, Tensor]], columns: pa.Schema) -> int:
    """Write a batch's pieces and log-probabilities [N pieces, K] a row; return the file's bytes."""
    pieces, logs = (columns.field(name).type.value_type for name in ("pieces", "logs"))
    with pq.ParquetWriter(path, columns, compression="zstd") as writer:
        for pieces_NK, logs_NK in batches:
            row = [
                pa.array([len(pieces_NK)], pa.int32()),
                _as_row(pieces_NK.numpy().astype(pieces.to_pandas_dtype()), pieces),
                _as_row(logs_NK.numpy().astype(logs.to_pandas_dtype()), logs),
            ]
            writer.write_table(pa.table(row, schema=columns))
    return path.stat().st_size


def _as_row(numbers_NK: np.ndarray, kind: pa.DataType) -> pa.Array:
    offsets = pa.array([0, numbers_NK.size], pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(numbers_NK.reshape(-1), kind))


class WordsReader:
    """The stored distributions of some parts of batches; the files stay open as they are used."""

    def __init__(self, parts: list[Path]) -> None:
        self._parts = parts
        self._open = lru_cache(32)(self._opened)

    def check(self, part: int, tokens: np.ndarray) -> None:
        """Raise ArtifactError unless a part's rows are those of batches with so many pieces."""
        with whole_part(self._parts[part]):
            found = self._open(part).read(["tokens"])["tokens"].to_numpy()
        if not np.array_equal(found, tokens):
            raise ArtifactError(
                f"{self._parts[part]}: its {len(found)} rows are not those of the {len(tokens)} "
                "batches of that name; remove its folder and run the stage again"
            )

    def read(self, part: int, row: int, inside_BT: Tensor) -> Words:
        """Return the words of a row of a part, of which `inside_BT` tells where pieces are."""
        with whole_part(self._parts[part]):
            table = self._open(part).read_row_group(row, ["pieces", "logs"])
        pieces, logs = (table[name].chunk(0).flatten().to_numpy() for name in ("pieces", "logs"))
        found = torch.from_numpy(pieces.astype(np.int64)), torch.from_numpy(logs.astype(np.float32))
        count = int(inside_BT.sum())
        return Words(*(_placed(each.view(count, -1), inside_BT) for each in found))

    def _opened(self, part: int) -> pq.ParquetFile:
        if not self._parts[part].is_file():
            raise ArtifactError(f"{self._parts[part]}: no stored distributions for this part")
        return open_part(self._parts[part])


def _placed(numbers_NK: Tensor, inside_BT: Tensor) -> Tensor:
    placed_BTK = numbers_NK.new_zeros(*inside_BT.shape, numbers_NK.shape[1])
    placed_BTK[inside_BT] = numbers_NK
    return placed_BTK
