"""Filtering and removing duplicates, part by part, in bounded memory.

`Scatter` filters a part of the raw corpus and sorts its pairs by where they belong: a split and,
within it, a part, both chosen by a hash of the source. `Gather` collects one such part from all
scattered files. Equal sources, and so equal pairs, meet in the same part: what a worker holds
is one part, however big the corpus.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wd.config import FilterConfig
from wd.data.filters import cleaned, why_removed, why_removed_alone
from wd.data.parts import read_part
from wd.data.schema import CORPUS
from wd.data.split import Partition, pair_id, part_label, source_key
from wd.places import Place

_SCATTERED = pa.schema([*CORPUS, pa.field("key", pa.uint64())])
COMPRESSION = "zstd"
_NOTHING = [pa.array([], kind) for kind in _SCATTERED.types]


@dataclass(frozen=True)
class Scatter:
    """Worker: a raw part (source, target, origin) in, the kept pairs out, a batch per label."""

    filters: FilterConfig
    partition: Partition
    held_out: Place
    """NumPy file with the source keys of the given validation and test files."""

    def __call__(self, part_in: Path, part_out: Path) -> dict[str, Any]:
        """Return how many pairs each filter removed."""
        removed: Counter[str] = Counter()
        held_out = set(np.load(Path(self.held_out)).tolist())
        groups: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        raw = read_part(part_in)
        for pair in zip(*(raw[name].to_pylist() for name in raw.column_names), strict=True):
            source, target, origin = cleaned(pair[0]), cleaned(pair[1]), pair[2]
            reason = why_removed(source, target, self.filters)
            if reason is None:
                key = source_key(source)
                if key in held_out:
                    reason = "held_out"
            if reason is not None:
                removed[reason] += 1
                continue
            label = part_label(*self.partition.place(key))
            groups[label].append((pair_id(source, target), source, target, origin, key))
        _write_groups(groups, self.partition, part_out)
        return {"removed": dict(removed)}


@dataclass(frozen=True)
class ScatterTexts:
    """Worker: the same for sources without targets, all of which are to be trained on."""

    filters: FilterConfig
    partition: Partition
    held_out: Place
    """NumPy file with the source keys of the validation and test sets, in order."""
    known: Place
    """NumPy file with those of the training pairs, in order."""

    def __call__(self, part_in: Path, part_out: Path) -> dict[str, Any]:
        """Return how many lines each filter removed, `in_corpus` those of the training pairs."""
        removed: Counter[str] = Counter()
        raw, rows = read_part(part_in, ["source", "origin"]), []
        for text, origin in zip(*(column.to_pylist() for column in raw.columns), strict=True):
            source = cleaned(text)
            if (reason := why_removed_alone(source, self.filters)) is not None:
                removed[reason] += 1
                continue
            rows.append((pair_id(source, ""), source, "", origin, source_key(source)))
        keys = np.array([row[-1] for row in rows], np.uint64)
        groups: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        held_out, known = (_among(keys, file) for file in (self.held_out, self.known))
        for row, tested, translated in zip(rows, held_out, known, strict=True):
            if tested or translated:
                removed["held_out" if tested else "in_corpus"] += 1
            else:
                groups[part_label(*self.partition.place(row[-1]))].append(row)
        _write_groups(groups, self.partition, part_out)
        return {"removed": dict(removed)}


@dataclass(frozen=True)
class Gather:
    """Worker: the name of a part in, that part of the corpus out."""

    scattered: Place
    """The folder of the scattered files."""
    names: Sequence[str]
    """Theirs, in order."""
    partition: Partition
    """What they were scattered by."""
    filters: FilterConfig

    def __call__(self, part_in: Path, part_out: Path) -> dict[str, Any]:
        """Return how many pairs were kept and how many removed."""
        label, folder = part_in.name, Path(self.scattered)
        number = self.partition.names.index(label)
        table = pa.Table.from_batches([_read_group(folder / name, number) for name in self.names])
        removed = {}
        if self.filters.drop_duplicates:
            kept = _first_of_each(table, "id")
            removed["duplicate"], table = len(table) - len(kept), kept
        if not label.startswith("train-"):
            # Else the same source, differently translated, would be scored several times.
            kept = _first_of_each(table, "key")
            removed["repeated_source"], table = len(table) - len(kept), kept
        pq.write_table(table.select(CORPUS.names).cast(CORPUS), part_out, compression=COMPRESSION)
        return {"removed": removed, "kept": len(table)}


def _write_groups(
    groups: Mapping[str, Sequence[tuple[Any, ...]]], partition: Partition, out: Path
) -> None:
    """Write a record batch for each of the partition's names, in order, so that one is found by it.

    In Arrow's own format, whose readers look at the batch that they are asked for only: a corpus of
    N parts is gathered by reading N x N batches.
    """
    options = pa.ipc.IpcWriteOptions(compression=COMPRESSION)
    with pa.ipc.new_file(out, _SCATTERED, options=options) as writer:
        for label in partition.names:
            columns = zip(*groups.get(label, ()), strict=True)
            arrays = map(pa.array, columns, _SCATTERED.types)
            writer.write_batch(pa.record_batch(list(arrays) or _NOTHING, schema=_SCATTERED))


def _read_group(path: Path, number: int) -> pa.RecordBatch:
    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_file(file).get_batch(number)


def _among(keys: np.ndarray, file: Place) -> list[bool]:
    """Return which of the keys are in a file of ordered ones, which is read in place."""
    ordered = np.load(Path(file), mmap_mode="r")
    if not len(ordered):
        return [False] * len(keys)
    places = np.searchsorted(ordered, keys).clip(max=len(ordered) - 1)
    found: list[bool] = (ordered[places] == keys).tolist()
    return found


def _first_of_each(table: pa.Table, column: str) -> pa.Table:
    """Return the first row for each value of the column, in the rows' order."""
    rows = table.select([column]).append_column("row", pa.array(range(len(table)), pa.int64()))
    first = rows.group_by(column).aggregate([("row", "min")])["row_min"]
    return table.take(first.take(pc.sort_indices(first)))
