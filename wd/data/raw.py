"""The files' pairs as they are, in parts of one size: what the corpus is filtered from."""

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from wd.config import CorpusConfig
from wd.data.partition import COMPRESSION
from wd.data.readers import RAW, read_entry
from wd.data.schema import part_name
from wd.data.sources import Entry


def write_raw(
    entries: Sequence[Entry], config: CorpusConfig, folder: Path, removed: Counter[str]
) -> Iterator[Path]:
    """Write the files' pairs, as they are, to parts of `config.part_pairs`; yield their paths."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tables = (table for entry in entries for table in read_entry(entry, config, removed))
    for index, table in enumerate(_resized(tables, config.part_pairs)):
        path = folder / part_name(index)
        pq.write_table(table, path, compression=COMPRESSION)
        yield path


def _resized(tables: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Yield the same rows in tables of exactly `rows`, the last one excepted."""
    waiting = RAW.empty_table()
    for table in tables:
        waiting = pa.concat_tables([waiting, table])
        while len(waiting) >= rows:
            yield waiting.slice(0, rows)
            waiting = waiting.slice(rows)
    if len(waiting):
        yield waiting
