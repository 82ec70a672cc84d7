"""Parallel text from files: aligned plain text, TSV, Parquet and message catalogs.

Every reader yields tables of source, target and origin (file and line), at most `CHUNK` rows
each. Errors name the file and the line.
"""

import re
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wd.config import CorpusConfig
from wd.data.broken import BrokenRows
from wd.data.catalogs import read_catalogs
from wd.data.lines import Lines, lines_of
from wd.data.sources import Entry
from wd.errors import DataError

CHUNK = 20_000
RAW = pa.schema({"source": pa.string(), "target": pa.string(), "origin": pa.string()})
_NUMBER = re.compile("[0-9]{1,6}")


def read_entry(entry: Entry, config: CorpusConfig, removed: Counter[str]) -> Iterator[pa.Table]:
    """Yield the pairs of one entry of the recipe; count in `removed` what its reader drops.

    Raises DataError for misaligned or damaged files, for missing columns, and for broken rows
    unless they are to be left out.
    """
    broken = BrokenRows(config.skip_broken_rows, removed)
    if entry.kind == "text":
        yield from _read_aligned(entry, broken)
    elif entry.kind == "lines":
        yield from _read_lines(entry, broken)
    elif entry.kind == "tsv":
        yield from _read_tsv(entry, config, broken)
    elif entry.kind == "parquet":
        yield from _read_parquet(entry, config, broken)
    else:
        pairs = read_catalogs(entry, removed)
        while chunk := list(islice(pairs, CHUNK)):
            yield _table(*map(list, zip(*chunk, strict=True)))


def _read_aligned(entry: Entry, broken: BrokenRows) -> Iterator[pa.Table]:
    left, right = entry.paths
    with lines_of(left) as sources, lines_of(right) as targets:
        while True:
            first = sources.count
            source, target = sources.take(CHUNK), targets.take(CHUNK)
            found = targets.broken | sources.broken
            broken.note(found)
            if len(source) != len(target):
                counts = sources.skip_rest(), targets.skip_rest()
                broken.check(max(counts))
                raise DataError(
                    f"{left} has {counts[0]} lines, but {right} has {counts[1]}: the files of a "
                    "parallel corpus are aligned line by line"
                )
            if not source:
                return broken.check(first)
            if not broken.fatal:
                yield _usable(entry.name, first, source, target, found)


def _read_lines(entry: Entry, broken: BrokenRows) -> Iterator[pa.Table]:
    (path,) = entry.paths
    with lines_of(path) as lines:
        while True:
            first = lines.count
            source = lines.take(CHUNK)
            if not source:
                return broken.check(first)
            broken.note(lines.broken)
            if not broken.fatal:
                yield _usable(entry.name, first, source, [""] * len(source), lines.broken)


def _read_tsv(entry: Entry, config: CorpusConfig, broken: BrokenRows) -> Iterator[pa.Table]:
    (path,) = entry.paths
    with lines_of(path) as lines:
        columns, widths = _layout(path, lines, config)
        header = lines.count
        while True:
            first = lines.count
            rows = [line.rstrip("\r").split("\t") for line in lines.take(CHUNK)]
            if not rows:
                return broken.check(first - header)
            found = lines.broken
            if widths is None:
                widths = _widths(path, first, rows, columns, found)
            found = _misshapen(path, first, rows, widths) | found
            broken.note(found)
            if not broken.fatal:
                if found:
                    rows = [[] if n in found else row for n, row in enumerate(rows, first + 1)]
                source, target = ([row[index] if row else "" for row in rows] for index in columns)
                yield _usable(entry.name, first, source, target, found)


def _layout(path: Path, lines: Lines, config: CorpusConfig) -> tuple[list[int], range | None]:
    """Return the indices of both columns and, if there is a header, how many cells a row has."""
    names = config.source_column, config.target_column
    if all(map(_NUMBER.fullmatch, names)):
        return [int(name) for name in names], None
    header = [name.strip() for line in lines.take(1) for name in line.split("\t")]
    for message in lines.broken.values():
        raise DataError(f"{message}; mend this, it is the header")
    columns = [_index(path, header, name) for name in names]
    named = max(index for index, name in enumerate(header) if name or index in columns)
    return columns, range(named + 1, len(header) + 1)


def _widths(
    path: Path, first: int, rows: list[list[str]], columns: list[int], broken: Container[int]
) -> range | None:
    """Return how many cells a row has, as the first that can be read has it; None if none can."""
    for line, row in enumerate(rows, first + 1):
        if line not in broken:
            if len(row) <= max(columns):
                raise DataError(
                    f"{path}, line {line}: {len(row)} tab-separated columns, but column "
                    f"{max(columns)} (counted from 0) is wanted"
                )
            return range(len(row), len(row) + 1)
    return None


def _misshapen(
    path: Path, first: int, rows: list[list[str]], widths: range | None
) -> dict[int, str]:
    """Return the lines that hold fewer cells than they should, or more (empty ones excepted)."""
    if widths is None:
        return {}
    return {
        line: f"{path}, line {line}: {len(row)} tab-separated columns, not {widths[-1]}"
        for line, row in enumerate(rows, first + 1)
        if len(row) not in widths and (len(row) < widths[0] or any(row[widths[-1] :]))
    }


def _read_parquet(entry: Entry, config: CorpusConfig, broken: BrokenRows) -> Iterator[pa.Table]:
    (path,) = entry.paths
    names = config.source_column, config.target_column
    try:
        with pq.ParquetFile(path) as file:
            for name in names:
                _index(path, file.schema_arrow.names, name)
            first = 0
            for batch in file.iter_batches(CHUNK, columns=list(names)):
                source, target = (
                    batch.column(name).cast(pa.string()).fill_null("") for name in names
                )
                table = _table(source, target, _origins(entry.name, first, len(batch)))
                table.validate(full=True)
                bad = pc.or_(*(pc.match_substring(side, "\0") for side in (source, target)))
                rows = [first + 1 + index for index in pc.indices_nonzero(bad).to_pylist()]
                broken.note({row: f"{path}, row {row}: a NUL character" for row in rows})
                first += len(batch)
                if not broken.fatal:
                    yield table.filter(pc.invert(bad)) if rows else table
            broken.check(first)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: not a Parquet file of text: {error}") from None


def _index(path: Path, header: Sequence[str], column: str) -> int:
    if header.count(column) > 1:
        raise DataError(f"{path}: {header.count(column)} columns are named {column!r}: rename them")
    if column not in header:
        known = ", ".join(map(repr, header)) or "none"
        raise DataError(
            f"{path}: no column {column!r}; it has {known}: set corpus.source_column and "
            "corpus.target_column"
        )
    return list(header).index(column)


def _usable(
    name: str, first: int, source: list[str], target: list[str], broken: Mapping[int, str]
) -> pa.Table:
    """Return the pairs from line `first` + 1 on as a table, without the broken lines."""
    table = _table(source, target, _origins(name, first, len(source)))
    if broken:
        lines = range(first + 1, first + 1 + len(table))
        table = table.filter(pa.array([line not in broken for line in lines], pa.bool_()))
    return table


def _origins(name: str, first: int, count: int) -> list[str]:
    return [f"{name}:{line}" for line in range(first + 1, first + count + 1)]


def _table(source: Any, target: Any, origin: Sequence[str]) -> pa.Table:
    return pa.table([source, target, origin], schema=RAW)
