"""Packing: sentence pairs into batches under a token budget, one batch a row."""

import random
from collections.abc import Sequence
from itertools import chain, compress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wd.config import ShardsConfig
from wd.data.parts import read_part
from wd.data.schema import EOS, SHARD, UNK
from wd.data.selection import Selection
from wd.data.tokenizer import Tokenizer
from wd.errors import ArtifactError
from wd.places import Place

_GROUP_BATCHES, _GROUP_TOKENS = 64, 64 * 4096
"""A row group holds so many batches, but of large ones only so many tokens: readers take whole
groups, several at a time."""
Ids = Sequence[Sequence[int]]
_ALL = Selection()


def longest_kept(config: ShardsConfig) -> int:
    """Return the length above which a sentence does not fit: the limit, or a whole batch."""
    return min(config.max_length, config.batch_tokens)


def pack_original(tokenizer: Place, config: ShardsConfig, part: Path, out: Path) -> dict[str, int]:
    """Worker: a part of the corpus in, its batches out."""
    sources, targets = _columns(part, "source", "target")
    return write_training_shard(sources, targets, Tokenizer.load(Path(tokenizer)), config, out)


def pack_validation(
    tokenizer: Place, config: ShardsConfig, part: Path, out: Path
) -> dict[str, int]:
    """Worker: a validation part in, its batches out; no pair is left out."""
    sources, targets = _columns(part, "source", "target")
    return write_validation_shard(sources, targets, Tokenizer.load(Path(tokenizer)), config, out)


def pack_pseudo(
    tokenizer: Place,
    config: ShardsConfig,
    pseudo: Place,
    part: Path,
    out: Path,
    selection: Selection = _ALL,
) -> dict[str, int]:
    """Worker: as `pack_original`, but the targets are the teacher's, matched row for row.

    What the pseudo stage does not keep is left out and counted, and so is what is not selected.
    Raises ArtifactError if the rows of the two parts are not the same pairs in the same order.
    """
    said = Path(pseudo / part.name)
    if not said.is_file():
        raise ArtifactError(f"{said}: no translations for {part}")
    ids, sources = _columns(part, "id", "source")
    translated, hypotheses, scores, kept = _columns(said, "id", "hypothesis", "score", "kept")
    if ids != translated:
        raise ArtifactError(f"{said}: its rows are not those of {part}")
    selected, gone = selection.kept(sources, hypotheses, scores, kept)
    counts = write_training_shard(
        list(compress(sources, selected)),
        list(compress(hypotheses, selected)),
        Tokenizer.load(Path(tokenizer)),
        config,
        out,
    )
    return {**counts, "left_out": len(kept) - sum(kept), **gone}


def _columns(part: Path, *columns: str) -> list[list[Any]]:
    table = read_part(part, columns)
    return [table[name].to_pylist() for name in columns]


def write_training_shard(
    sources: Sequence[str],
    targets: Sequence[str],
    tokenizer: Tokenizer,
    config: ShardsConfig,
    out: Path,
) -> dict[str, int]:
    """Write a part's batches in an order that depends on the part's name only; return counts.

    Pairs with a side over the length limit, or with an empty target, are left out and counted.
    """
    limit = longest_kept(config)
    source_ids, target_ids = tokenizer.encode_source(sources), tokenizer.encode_target(targets)
    fits = [
        len(source) <= limit and len(target) <= limit
        for source, target in zip(source_ids, target_ids, strict=True)
    ]
    says = [len(target) > 1 for target in target_ids]
    kept = [index for index in range(len(fits)) if fits[index] and says[index]]
    counts = _write(
        [source_ids[index] for index in kept],
        [target_ids[index] for index in kept],
        config,
        out,
        shuffle=random.Random(out.name),
    )
    empty = says.count(False)
    return {**counts, "empty": empty, "over_long": len(fits) - len(kept) - empty}


def write_validation_shard(
    sources: Sequence[str],
    targets: Sequence[str],
    tokenizer: Tokenizer,
    config: ShardsConfig,
    out: Path,
) -> dict[str, int]:
    """Write a part's batches, shortest first; over-long sentences are cut. Return counts."""
    limit = longest_kept(config)
    source_ids, target_ids = tokenizer.encode_source(sources), tokenizer.encode_target(targets)
    truncated = sum(len(ids) > limit for ids in [*source_ids, *target_ids])
    counts = _write(_cut(source_ids, limit), _cut(target_ids, limit), config, out)
    return {**counts, "truncated": truncated}


def _cut(sequences: Ids, limit: int) -> Ids:
    return [ids if len(ids) <= limit else [*ids[: limit - 1], EOS] for ids in sequences]


def _write(
    sources: Ids,
    targets: Ids,
    config: ShardsConfig,
    out: Path,
    shuffle: random.Random | None = None,
) -> dict[str, int]:
    source_lengths, target_lengths = _lengths(sources), _lengths(targets)
    longest = np.maximum(source_lengths, target_lengths)
    order = np.lexsort((source_lengths, target_lengths, longest))
    batches = pack(longest[order], config.batch_tokens)
    if shuffle:
        shuffle.shuffle(batches)
    rows = [order[start:stop] for start, stop in batches]
    tokens = [int(target_lengths[row].sum()) for row in rows]
    columns = [_batched(sources, rows), _batched(targets, rows), pa.array(tokens, pa.int32())]
    table = pa.table(columns, schema=SHARD)
    group = max(1, min(_GROUP_BATCHES, _GROUP_TOKENS // config.batch_tokens))
    pq.write_table(table, out, row_group_size=group, compression="zstd")
    return {
        "pairs": len(order),
        "batches": len(rows),
        "source_tokens": int(source_lengths.sum()),
        "target_tokens": int(target_lengths.sum()),
        "source_unknown": _unknown(sources),
        "target_unknown": _unknown(targets),
        "padded_target_tokens": sum(len(row) * int(target_lengths[row].max()) for row in rows),
    }


def pack(lengths: np.ndarray[Any, Any], budget: int) -> list[tuple[int, int]]:
    """Return (start, stop) of each batch of the ascending `lengths`.

    A batch holds as many sentences as fit: sentences x longest <= budget.
    """
    batches = []
    start = 0
    for index, longest in enumerate(lengths.tolist()):
        if (index + 1 - start) * longest > budget and index > start:
            batches.append((start, index))
            start = index
    if len(lengths):
        batches.append((start, len(lengths)))
    return batches


def _unknown(ids: Ids) -> int:
    """Count the pieces that stand for characters which the tokenizer does not know."""
    return sum(list(sequence).count(UNK) for sequence in ids)


def _lengths(ids: Ids) -> np.ndarray[Any, Any]:
    return np.fromiter(map(len, ids), np.int64, len(ids))


def _batched(ids: Ids, rows: Sequence[np.ndarray[Any, Any]]) -> pa.Array:
    """Return list<list<int32>>: for each row the sequences that it picks."""
    picked = [ids[index] for row in rows for index in row.tolist()]
    pieces = np.fromiter(chain.from_iterable(picked), np.int32)
    sentences = pa.ListArray.from_arrays(_offsets(map(len, picked)), pa.array(pieces))
    return pa.ListArray.from_arrays(_offsets(map(len, rows)), sentences)


def _offsets(lengths: Any) -> pa.Array:
    return pa.array(np.cumsum([0, *lengths]), pa.int32())
