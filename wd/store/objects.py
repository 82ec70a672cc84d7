"""Objects below a root in a store: the few things that are done with them.

Paths are below the root. Everything raises ArtifactError where the store does not do it.
"""

import errno
import hashlib
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import pyarrow.fs as pafs

from wd.places import filesystem_of, refused

_AT_ONCE = 8
"""So many files are on their way at a time."""
_WITHOUT_FOLDERS = ("s3", "gcs", "abfs")
"""The kinds of stores in which an object's folders need not be made."""
_PASSING = ("INTERNAL_FAILURE", "SLOW_DOWN", "SERVICE_UNAVAILABLE")
"""What a store says for now. Its client asks again by itself, but not where the answer is longer
than the object that was asked for: that it takes for a failure of its own."""
_WAITS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Seconds before it is asked again."""
Item = TypeVar("Item")
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


@dataclass(frozen=True)
class Found:
    """An object, as the store lists it."""

    path: str
    """Below the root."""
    bytes: int
    written: int
    """When, by the store's clock, in nanoseconds."""


def digest(text: str) -> str:
    """Return a short name for something long."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _persistent(
    function: Callable[Concatenate[str, Arguments], Result],
) -> Callable[Concatenate[str, Arguments], Result]:
    """Ask a store again that fails for now, and raise ArtifactError for what it raises in the end.

    A full disk of this node stays an OSError.
    """

    @wraps(function)
    def ask(root: str, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        for wait in (*_WAITS, None):
            try:
                return function(root, *args, **kwargs)
            except OSError as error:
                if error.errno not in (None, errno.ENOENT):
                    raise
                if wait is None or not any(sign in str(error) for sign in _PASSING):
                    raise refused(root, error) from None
                time.sleep(wait)
        raise AssertionError

    return ask


@_persistent
def found(root: str, path: str) -> list[Found]:
    """Return the object of this path, or all that are below it; nothing if there are none."""
    filesystem, base = filesystem_of(root)
    one = filesystem.get_file_info(f"{base}/{path}")
    if one.type == pafs.FileType.File:
        return [_found(one, base)]
    below = pafs.FileSelector(f"{base}/{path}", allow_not_found=True, recursive=True)
    entries = filesystem.get_file_info(below)
    files = [_found(each, base) for each in entries if each.type == pafs.FileType.File]
    return sorted(files, key=lambda each: each.path)


@_persistent
def names(root: str, path: str) -> list[str]:
    """Return the names of what is right below a path, in order; none below a file."""
    filesystem, base = filesystem_of(root)
    below = pafs.FileSelector(f"{base}/{path}".rstrip("/"), allow_not_found=True)
    try:
        return sorted(entry.base_name for entry in filesystem.get_file_info(below))
    except NotADirectoryError:
        return []


@_persistent
def read(root: str, path: str, most: int) -> bytes | None:
    """Return an object's bytes, at most so many; None if there is none."""
    filesystem, base = filesystem_of(root)
    try:
        with filesystem.open_input_stream(f"{base}/{path}") as stream:
            return bytes(stream.read(most))
    except (FileNotFoundError, NotADirectoryError):
        return None


@_persistent
def write(root: str, path: str, content: bytes) -> None:
    """Write an object."""
    filesystem, target = _target(root, path)
    with filesystem.open_output_stream(target) as stream:
        stream.write(content)


@_persistent
def upload(root: str, source: Path, path: str) -> None:
    """Copy a file into the store, where it appears when it is whole."""
    filesystem, target = _target(root, path)
    pafs.copy_files(
        str(source),
        target,
        source_filesystem=pafs.LocalFileSystem(),
        destination_filesystem=filesystem,
    )


@_persistent
def download(root: str, path: str, target: Path) -> None:
    """Copy an object to a file."""
    filesystem, base = filesystem_of(root)
    pafs.copy_files(f"{base}/{path}", str(target), source_filesystem=filesystem)


@_persistent
def duplicate(root: str, path: str, target: str) -> None:
    """Copy an object within the store."""
    filesystem, base = filesystem_of(root)
    filesystem.copy_file(f"{base}/{path}", _target(root, target)[1])


@_persistent
def erase(root: str, path: str) -> None:
    """Remove an object, or all that is below a path, if there is anything."""
    filesystem, base = filesystem_of(root)
    kind = filesystem.get_file_info(f"{base}/{path}").type
    try:
        if kind == pafs.FileType.File:
            filesystem.delete_file(f"{base}/{path}")
        elif kind == pafs.FileType.Directory:
            filesystem.delete_dir(f"{base}/{path}")
    except FileNotFoundError:
        pass  # somebody else was faster


def each(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Call a function with every item, several at a time; return the results in order."""
    with ThreadPoolExecutor(_AT_ONCE, "store") as pool:
        return list(pool.map(function, items))


def _target(root: str, path: str) -> tuple[pafs.FileSystem, str]:
    filesystem, base = filesystem_of(root)
    target = f"{base}/{path}"
    if filesystem.type_name not in _WITHOUT_FOLDERS:
        filesystem.create_dir(target.rpartition("/")[0], recursive=True)
    return filesystem, target


def _found(entry: pafs.FileInfo, base: str) -> Found:
    return Found(entry.path.removeprefix(f"{base}/"), entry.size, entry.mtime_ns)
