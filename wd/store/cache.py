"""This node's copies of what lies in a store: bounded, and never taken from who uses them.

Each thing that is copied has a folder, an entry. A process holds a shared lock on those that it
has asked for until it ends; what nobody holds goes, least recently used first, when room is needed.
"""

import fcntl
import os
import shutil
import threading
from pathlib import Path
from typing import IO

from wd.errors import UserError
from wd.files import remove
from wd.places import cache_folder

KINDS = ("artifacts", "work")
LOCK = ".lock"
"""File of an entry: its lock; its time is when the entry was last asked for."""
_SHARE = 0.25
"""Of the disk: so much the copies take at most, if WD_CACHE_GB does not say how much."""
_UNCOUNTED = 0.01
"""Of the bound: so much is fetched before all is counted again."""

_held: dict[Path, IO[str]] = {}
_uncounted: dict[Path, int] = {}
_guard = threading.Lock()


def entry(kind: str, name: str) -> Path:
    """Return the folder of one thing's copies; it stays while this process lives."""
    folder = cache_folder() / kind / name
    with _guard:
        if folder not in _held or not (folder / LOCK).exists():
            folder.mkdir(parents=True, exist_ok=True)
            stream = (folder / LOCK).open("a")
            fcntl.flock(stream, fcntl.LOCK_SH)
            _held[folder] = stream
    os.utime(folder / LOCK)
    return folder


def make_room(coming: int) -> None:
    """Remove what has not been used for longest, until so many bytes more are within the bound.

    What is in use stays, even if the bound is then exceeded.
    """
    base, bound = cache_folder(), most_bytes()
    with _guard:
        before = _uncounted.get(base)
        _uncounted[base] = coming + (before or 0)
        if before is not None and _uncounted[base] < _UNCOUNTED * bound:
            return
        _uncounted[base] = 0
    entries = sorted(
        (lock for kind in KINDS for lock in base.glob(f"{kind}/*/{LOCK}")),
        key=lambda lock: lock.stat().st_mtime_ns,
    )
    sizes = {lock: size_of(lock.parent) for lock in entries}
    total = sum(sizes.values()) + coming
    for lock in entries:
        if total <= bound:
            return
        if _emptied(lock):
            total -= sizes[lock]


def most_bytes() -> int:
    """Return how much this node's copies may take; raises UserError if WD_CACHE_GB is no number."""
    if asked := os.environ.get("WD_CACHE_GB"):
        try:
            return int(float(asked) * 1e9)
        except (ValueError, OverflowError):
            raise UserError(f"WD_CACHE_GB={asked}: not a number of gigabytes") from None
    base = cache_folder()
    base.mkdir(parents=True, exist_ok=True)
    return int(shutil.disk_usage(base).total * _SHARE)


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder, some of which may just be going."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def _emptied(lock: Path) -> bool:
    """Remove an entry's copies, and tell whether that could be done: not if somebody holds it."""
    with lock.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        for path in lock.parent.iterdir():
            if path != lock:
                remove(path)
    return True
