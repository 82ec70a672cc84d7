"""Parallel text from files: aligned plain text, TSV, Parquet and message catalogs.

Every reader yields tables of source, target and origin (file and line), at most `CHUNK` rows
each. Text is split at line feeds and nowhere else. Errors name the file and the line.
"""

import gzip
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from wd.config import CorpusConfig
from wd.data.catalogs import read_catalogs
from wd.data.sources import Entry
from wd.errors import DataError

CHUNK = 20_000
RAW = pa.schema({"source": pa.string(), "target": pa.string(), "origin": pa.string()})


def read_entry(entry: Entry, config: CorpusConfig, removed: Counter[str]) -> Iterator[pa.Table]:
    """Yield the pairs of one entry of the recipe; count in `removed` what its reader drops.

    Raises DataError for misaligned, undecodable or damaged files and for missing columns.
    """
    if entry.kind == "text":
        yield from _read_aligned(entry)
    elif entry.kind == "tsv":
        yield from _read_tsv(entry, config.source_column, config.target_column)
    elif entry.kind == "parquet":
        yield from _read_parquet(entry, config.source_column, config.target_column)
    else:
        pairs = read_catalogs(entry, removed)
        while chunk := list(islice(pairs, CHUNK)):
            yield _table(*map(list, zip(*chunk, strict=True)))


class _Lines:
    """The lines of a file, plain or gzipped, decoded in chunks."""

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        self._path = path
        self._stream = _unpacked(path, stream)
        self.count = 0
        """Lines read so far."""
        self._offset = 0

    def take(self, limit: int) -> list[str]:
        """Return up to `limit` further lines without their ends; raises DataError if not UTF-8."""
        taken = list(islice(self._stream, limit))
        block = b"".join(taken)
        try:
            lines = block.decode("utf-8").split("\n")
        except UnicodeDecodeError as error:
            line = self.count + block.count(b"\n", 0, error.start) + 1
            raise DataError(
                f"{self._path}, line {line}: not UTF-8: byte 0x{block[error.start]:02x} at offset "
                f"{self._offset + error.start} of the (unpacked) file; convert or mend it"
            ) from None
        if self.count == 0:
            lines[0] = lines[0].removeprefix("\ufeff")
        self.count += len(taken)
        self._offset += len(block)
        return lines[: len(taken)]

    def skip_rest(self) -> int:
        """Read to the end; return the number of lines of the whole file."""
        self.count += sum(1 for _ in self._stream)
        return self.count


def _unpacked(path: Path, stream: IO[bytes]) -> Iterator[bytes]:
    try:
        yield from stream
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip file: {error}; fetch it again") from None


@contextmanager
def _lines(path: Path) -> Iterator[_Lines]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            yield _Lines(path, cast(IO[bytes], stream))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _read_aligned(entry: Entry) -> Iterator[pa.Table]:
    left, right = entry.paths
    with _lines(left) as sources, _lines(right) as targets:
        while True:
            first = sources.count
            source, target = sources.take(CHUNK), targets.take(CHUNK)
            if len(source) != len(target):
                counts = sources.skip_rest(), targets.skip_rest()
                raise DataError(
                    f"{left} has {counts[0]} lines, but {right} has {counts[1]}: the files of a "
                    "parallel corpus are aligned line by line"
                )
            if not source:
                return
            yield _table(source, target, _origins(entry.name, first, len(source)))


def _read_tsv(entry: Entry, source_column: str, target_column: str) -> Iterator[pa.Table]:
    (path,) = entry.paths
    with _lines(path) as lines:
        columns = (source_column, target_column)
        if all(column.isdigit() for column in columns):
            indices = [int(column) for column in columns]
        else:
            header = [name.strip() for line in lines.take(1) for name in line.split("\t")]
            indices = [_index(path, header, column) for column in columns]
        while True:
            first = lines.count
            rows = [line.rstrip("\r").split("\t") for line in lines.take(CHUNK)]
            if not rows:
                return
            for number, row in enumerate(rows, first + 1):
                if len(row) <= max(indices):
                    raise DataError(
                        f"{path}, line {number}: {len(row)} tab-separated columns, but column "
                        f"{max(indices)} (counted from 0) is wanted"
                    )
            source, target = ([row[index] for row in rows] for index in indices)
            yield _table(source, target, _origins(entry.name, first, len(rows)))


def _read_parquet(entry: Entry, source_column: str, target_column: str) -> Iterator[pa.Table]:
    (path,) = entry.paths
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            for column in (source_column, target_column):
                _index(path, names, column)
            first = 0
            for batch in file.iter_batches(CHUNK, columns=[source_column, target_column]):
                source, target = (
                    batch.column(name).cast(pa.string()).fill_null("")
                    for name in (source_column, target_column)
                )
                table = _table(source, target, _origins(entry.name, first, len(batch)))
                table.validate(full=True)
                yield table
                first += len(batch)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise DataError(f"{path}: not a Parquet file of text: {error}") from None


def _index(path: Path, header: Sequence[str], column: str) -> int:
    if column not in header:
        raise DataError(
            f"{path}: no column {column!r}; it has {', '.join(map(repr, header))}: set "
            "corpus.source_column and corpus.target_column"
        )
    return list(header).index(column)


def _origins(name: str, first: int, count: int) -> list[str]:
    return [f"{name}:{line}" for line in range(first + 1, first + count + 1)]


def _table(source: Any, target: Any, origin: Sequence[str]) -> pa.Table:
    return pa.table([source, target, origin], schema=RAW)
