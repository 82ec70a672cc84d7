"""Validation and test sets that come in files of their own: kept whole and in order."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from wd.config import CorpusConfig
from wd.data.filters import cleaned
from wd.data.readers import read_entry
from wd.data.schema import CORPUS, part_name
from wd.data.sources import Entry
from wd.data.split import pair_id, source_key
from wd.errors import DataError


def write_given(
    entries: Mapping[str, Sequence[Entry]],
    config: CorpusConfig,
    out: Path,
    removed: Counter[str],
) -> tuple[dict[str, int], set[int]]:
    """Write the test sets' folders and `out/valid/`; return pair counts and all source keys.

    Only pairs with an empty side are removed, validation sources that are also in a test set, and
    broken rows where the recipe says so: a published set stays comparable. They are assumed to fit
    in memory.
    """
    counts: dict[str, int] = {}
    seen: set[int] = set()
    for split in [*(name for name in entries if name not in ("train", "valid")), "valid"]:
        if not entries[split]:
            continue
        keys, rows = set(), []
        for entry in entries[split]:
            for table in read_entry(entry, config, removed):
                for raw_source, raw_target, origin in zip(
                    *(table[name].to_pylist() for name in table.column_names), strict=True
                ):
                    source, target = cleaned(raw_source), cleaned(raw_target)
                    key = source_key(source)
                    if not source or not target:
                        removed["empty"] += 1
                    elif split == "valid" and key in seen:
                        removed["held_out"] += 1
                    else:
                        keys.add(key)
                        rows.append((pair_id(source, target), source, target, origin))
        if not rows:
            names = ", ".join(entry.name for entry in entries[split])
            raise DataError(f"corpus.{split} ({names}) holds no sentence pairs")
        _write(rows, out / split, config.part_pairs)
        counts[split] = len(rows)
        seen |= keys
    return counts, seen


def _write(rows: Sequence[tuple[str, str, str, str]], folder: Path, part_pairs: int) -> None:
    folder.mkdir()
    for index, start in enumerate(range(0, len(rows), part_pairs)):
        columns = list(map(list, zip(*rows[start : start + part_pairs], strict=True)))
        table = pa.table(columns, schema=CORPUS)
        pq.write_table(table, folder / part_name(index), compression="zstd")
