"""A stage's unfinished state: a folder that all nodes share, or a store that each node mirrors.

The functions take either: a `Path`, for which there is little to do, or a `Shelf`.
"""

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from wd.errors import ArtifactError
from wd.files import remove as remove_local
from wd.files import sha256
from wd.places import Place, below, shown
from wd.store import objects
from wd.store.cache import entry, make_room

_SMALL = 1_000_000
_ENTRY = 3
"""A shelf's path begins with `.work/<stage>/<hash>`: so many parts are one entry of the cache."""


@dataclass(frozen=True)
class Shelf:
    """A file or a folder of unfinished state in a store.

    A copy is what the store has if it has its size and its time. What is written here is in the
    store after `push` only.
    """

    root: str
    path: str
    """Below the root: `.work/<stage>/<hash>` and further."""

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]

    def __truediv__(self, name: str, /) -> "Shelf":
        """Return a file or a folder below it."""
        return replace(self, path=f"{self.path}/{name}")

    def __fspath__(self) -> str:
        """Fetch it, if the store has it, and return the path of this node's copy."""
        return str(pull(self))

    def __str__(self) -> str:
        return below(shown(self.root), self.path)

    @property
    def here(self) -> Path:
        """Where this node's copy is, or may be written."""
        place = self._entry.joinpath("files", *self.path.split("/")[_ENTRY:])
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    @property
    def _entry(self) -> Path:
        name = "-".join([objects.digest(self.root), *self.path.split("/")[1:_ENTRY]])
        return entry("work", name)

    def pull(self) -> Path:
        """Make this node's copy what the store has, and return its path."""
        place = self.here
        locks = self._entry / "locks"
        locks.mkdir(exist_ok=True)
        with FileLock(locks / objects.digest(self.path)):
            found = objects.found(self.root, self.path)
            if not found:
                remove_local(place)
            missing = [one for one in found if not _is_same(self._copy(one), one)]
            if missing:
                make_room(sum(one.bytes for one in missing))
                objects.each(self._fetch, missing)
        return place

    def push(self, last: str = "") -> None:
        """Copy a file, or a folder's files, into the store; the one called `last` comes last."""
        place = self.here
        if place.is_file():
            return self._send(place)
        files = sorted(path for path in place.rglob("*") if path.is_file())
        objects.each(self._send, [path for path in files if path.name != last])
        objects.each(self._send, [path for path in files if path.name == last])

    def _send(self, path: Path) -> None:
        name = path.relative_to(self.here).as_posix()
        target = self.path if name == "." else f"{self.path}/{name}"
        objects.upload(self.root, path, target)
        (sent,) = objects.found(self.root, target)
        os.utime(path, ns=(sent.written, sent.written))

    def _fetch(self, one: objects.Found) -> None:
        place = self._copy(one)
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}.partial")
        try:
            objects.download(self.root, one.path, partial)
            os.utime(partial, ns=(one.written, one.written))
            partial.replace(place)
        finally:
            partial.unlink(missing_ok=True)

    def _copy(self, one: objects.Found) -> Path:
        return self.here / one.path.removeprefix(self.path).removeprefix("/")


def here(place: Place) -> Path:
    """Return where a place is on this node, without fetching anything."""
    return place.here if isinstance(place, Shelf) else Path(place)


def pull(place: Place) -> Path:
    """Return where a place is on this node, after making it what all nodes see."""
    return place.pull() if isinstance(place, Shelf) else Path(place)


def push(place: Place, last: str = "") -> None:
    """Let all nodes see what this node has written; in a folder, the file called `last` last."""
    if isinstance(place, Shelf):
        place.push(last)


def names(place: Place) -> list[str]:
    """Return the names of what all nodes see right below a folder, in order."""
    if isinstance(place, Shelf):
        return objects.names(place.root, place.path)
    path = Path(place)
    return sorted(each.name for each in path.iterdir()) if path.is_dir() else []


def remove(place: Place) -> None:
    """Remove a file, or a folder with all that is in it, for all nodes."""
    remove_local(here(place))
    if isinstance(place, Shelf):
        objects.erase(place.root, place.path)


def describe(place: Place) -> None:
    """Leave, beside a file in a store, what a manifest is to say of it: who made it knows."""
    if isinstance(place, Shelf):
        path = place.here
        told = {"bytes": path.stat().st_size, "sha256": sha256(path)}
        objects.write(place.root, _description(place), json.dumps(told).encode())


def described(files: Mapping[str, Shelf]) -> dict[str, dict[str, Any]]:
    """Return what `describe` left of files in a store, by the names that they are given here."""

    def read(file: Shelf) -> dict[str, Any]:
        told = objects.read(file.root, _description(file), _SMALL)
        if told is None:
            raise ArtifactError(f"{file}: is gone; run the stage again")
        return dict(json.loads(told))

    return dict(zip(files, objects.each(read, files.values()), strict=True))


def _description(file: Shelf) -> str:
    folder, _, name = file.path.rpartition("/")
    return f"{folder}/.{name}.file.json"


def _is_same(copy: Path, one: objects.Found) -> bool:
    try:
        state = copy.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return state.st_size == one.bytes and state.st_mtime_ns == one.written
