"""Compressed files: unpacked by their ending, and known by their first bytes."""

import bz2
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from wd.errors import DataError

PACKINGS = {".gz": "gzip", ".zst": "zstd", ".xz": "xz", ".bz2": "bzip2"}
"""The endings that are read, in the order in which they are looked for beside a name."""
_START = 512
_FOREIGN = (
    (rb"\x1f\x8b", "gzip data: name it .gz"),
    (rb"\x28\xb5\x2f\xfd", "zstd data: name it .zst"),
    (rb"\xfd7zXZ\0", "xz data: name it .xz"),
    (rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)", "bzip2 data: name it .bz2"),
    (rb"PK(?:\x03\x04|\x05\x06)", "a zip archive: unpack it"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"),
    (rb"PAR1\x15", "Parquet: name it .parquet"),
    (rb"\xff\xfe\0\0|\0\0\xfe\xff", "UTF-32 text: convert it to UTF-8"),
    (rb"\xff\xfe|\xfe\xff", "UTF-16 text: convert it to UTF-8"),
    (
        rb"(?:\xef\xbb\xbf)?\s*<(?i:\?xml|!doctype|srcset|refset|tstset|tmx)\b",
        "SGML or XML: take the sentences out of their tags",
    ),
)
_UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError)


def without_packing(name: str) -> str:
    """Return a file's name without the ending that says how it is compressed, if it has one."""
    packing = Path(name).suffix
    return name.removesuffix(packing) if packing.lower() in PACKINGS else name


def foreign(start: bytes) -> str | None:
    """Say what bytes that should be the start of plain text are instead, and what to do."""
    return next((kind for magic, kind in _FOREIGN if re.match(magic, start)), None)


@contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, to be read within `readable`; unpack it if its ending says it is compressed."""
    with readable(path):
        stream = io.BufferedReader(_raw(path))
    with stream:
        yield stream


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raise DataError if the file cannot be opened, read or unpacked in this block."""
    try:
        yield
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from None
        packing = PACKINGS.get(path.suffix.lower(), "")
        with path.open("rb") as stream:
            kind = foreign(stream.read(_START))
        advice = f"it holds {kind}" if kind and packing not in kind else "fetch it again"
        raise DataError(f"{path}: damaged {packing} file: {error}; {advice}") from None


def read_whole(path: Path, limit: int) -> bytes:
    """Return a file's bytes, unpacked; raises DataError if a compressed one holds over `limit`."""
    packed = path.suffix.lower() in PACKINGS
    with unpacked(path) as stream, readable(path):
        data = stream.read(limit + 1 if packed else -1)
    if packed and len(data) > limit:
        raise DataError(f"{path}: larger than {limit >> 20} MiB when unpacked: unpack it yourself")
    return data


def _raw(path: Path) -> Any:
    match path.suffix.lower():
        case ".gz":
            return gzip.open(path)
        case ".bz2":
            return bz2.open(path)
        case ".xz":
            return lzma.open(path)
        case ".zst":
            return pa.CompressedInputStream(path.open("rb"), "zstd")
    return path.open("rb", buffering=0)
