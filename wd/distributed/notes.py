"""Notes that the processes of one piece of work leave each other, in the cluster's key-value store.

No disk need be shared for them, and none is left behind: they go with the cluster.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from ray.exceptions import RayError
from ray.experimental.internal_kv import (
    _internal_kv_del,
    _internal_kv_get,
    _internal_kv_put,
)

_LOOK_SECONDS = 0.3
"""So often a thread looks for a note, or whether to leave one."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Note:
    """A text that one process leaves, and others read."""

    key: str
    """Of no other note of the cluster."""

    def leave(self, text: str) -> None:
        """Leave it."""
        _internal_kv_put(self.key, text, overwrite=True)

    def read(self) -> str | None:
        """Return its text, None if it was not left."""
        text = _internal_kv_get(self.key)
        return None if text is None else text.decode()

    def remove(self) -> None:
        """Remove it, if the cluster is still there."""
        with suppress(RayError):
            _internal_kv_del(self.key)


@contextmanager
def passed_on(asked: threading.Event, note: Note) -> Iterator[None]:
    """While the context lasts, leave a note as soon as an event is set; none is left in the end."""

    def look() -> None:
        if asked.is_set():
            note.leave("")

    try:
        with _looking(look):
            yield
    finally:
        note.remove()


@contextmanager
def awaited(note: Note) -> Iterator[threading.Event]:
    """Yield an event that is set soon after a note is left; whoever asks it waits for nothing."""
    there = threading.Event()

    def look() -> None:
        if note.read() is not None:
            there.set()

    with _looking(look):
        yield there


@contextmanager
def _looking(look: Callable[[], None]) -> Iterator[None]:
    """Call a function again and again, in a thread, while the context lasts."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(_LOOK_SECONDS):
            try:
                look()
            except RayError as error:  # the head is busy, or gone, which others will tell
                _LOG.debug("notes: %s", error)

    thread = threading.Thread(target=run, name="notes", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
