"""Files: hashed in one place, written whole or not at all, not believed for what they claim."""

import errno
import hashlib
import json
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

_SMALL = 1_000_000
"""Somebody else's small file has at most so many bytes."""
_DEEPEST = 50
"""JSON is nested at most so deeply."""


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal digits, read now."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def known_sha256(path: Path) -> str:
    """Return a file's SHA-256, read once per process while its size and its time stay.

    For files that are inputs; whether bytes are still what they were is `sha256`'s to tell.
    """
    state = path.stat()
    return _known(path.absolute(), state.st_ino, state.st_size, state.st_mtime_ns)


@cache
def _known(path: Path, *state: int) -> str:
    return sha256(path)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a place beside `path`, for a file or a folder; what is there in the end becomes `path`.

    It replaces what `path` was. After an error `path` is as before, and nothing else is left.
    """
    partial = path.with_name(f".{path.name}.partial")
    remove(partial)  # of a process that was killed
    try:
        yield partial
        if partial.is_dir():
            remove(path)
        partial.replace(path)
    finally:
        remove(partial)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        try:
            shutil.rmtree(path)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            shutil.rmtree(path, ignore_errors=True)  # a thread had put another file there
    else:
        path.unlink(missing_ok=True)


def read_small(path: Path, most: int = _SMALL) -> bytes:
    """Return a file's bytes.

    Raises ValueError if it is no regular file (a device may have no end) or has more than `most`
    bytes; FileNotFoundError or NotADirectoryError if there is none.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("not a regular file")
    with path.open("rb") as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise ValueError(f"more than {most:,} bytes")
    return content


def parse_json(content: bytes) -> Any:
    """Return JSON as plain data; raises ValueError, also if it is nested too deeply."""
    try:
        tree = json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    level = [tree]
    for _ in range(_DEEPEST):
        level = [below for each in level for below in _below(each)]
    if level:
        raise ValueError("nested too deeply")
    return tree


def _below(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
