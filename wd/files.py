"""Files as the project treats them: hashed in one place, and written whole or not at all."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path


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
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
