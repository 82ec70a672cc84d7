"""A lease in a store: one process at a time has it, and a dead one loses it.

Who wants it writes a claim of its own, again and again; how old a claim is, the store's clock says,
beside that of one's own, just written. The first of the living ones marks itself as the holder,
and looks again: had another one done so too, both take it back and ask once more. So never do two
hold it, as long as the store lists what has been written.
"""

import logging
import math
import random
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from wd.errors import ArtifactError
from wd.store import objects

SECONDS = 60.0
"""A claim that was not renewed for so long is a dead one's."""
RENEW_SECONDS = 10.0
SETTLE_SECONDS = 0.5
"""So long after its claim a contender looks who else there is."""
LOOK_SECONDS = 2.0
_FOLDER = ".leases"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Claim:
    who: str
    holds: bool
    written: int
    """By the store's clock, in nanoseconds."""


class Lease:
    """One contender's side of a lease."""

    def __init__(self, root: str, name: str) -> None:
        self._root, self._name = root, name
        self._who = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"  # who came first goes first
        self._renewed = -math.inf
        self._lapsed = False
        self._ended, self._guard = threading.Event(), threading.Lock()

    def acquire(self) -> None:
        """Return when this process has it."""
        told = False
        while (others := self._ask()) is not None:
            holder = next((one for one in others if one.holds), None)
            if holder is not None and not told:
                told = True
                _LOG.warning("waiting for %s, which makes %s", self._told_by(holder), self._name)
            time.sleep(LOOK_SECONDS * random.uniform(0.5, 1.0))

    def keep(self) -> None:
        """Renew it until `end`; a thread does this."""
        while not self._ended.wait(RENEW_SECONDS):
            with self._guard:
                try:
                    self._renew()
                except ArtifactError as error:
                    _LOG.warning("%s: not renewed: %s", self._name, error)

    def ensure(self) -> bool:
        """Return when this process has it; tell whether another one may have had it meanwhile."""
        with self._guard:
            if self._is_late():
                self._lapsed = True
                self.acquire()
            return self._lapsed

    def end(self) -> None:
        """Let the thread that renews it end."""
        self._ended.set()

    def release(self) -> None:
        """Give it back, or stop asking for it."""
        for state in ("holds", "asks"):
            try:
                self._erase(state)
            except ArtifactError as error:
                _LOG.warning("%s: others wait a minute for it: %s", self._name, error)

    def _renew(self) -> None:
        """Say again that it is held; after a while in which nobody could, ask for it again."""
        if self._is_late():  # it may be another's by now
            if not self._lapsed:
                _LOG.warning("%s: could not be renewed for a while; asking again", self._name)
            self._lapsed = True
            self._ask()
            return
        self._write("holds")
        if self._is_late():  # the store took so long
            self._erase("holds")

    def _ask(self) -> list[_Claim] | None:
        """Ask once; return None if this process has it now, else the living claims of others."""
        others = self._others(self._write("asks"))
        first = self._who < min((one.who for one in others), default="~")
        if first and not any(one.holds for one in others):
            time.sleep(SETTLE_SECONDS)
            if not any(one.holds for one in self._others(self._write("holds"))):
                self._erase("asks")
                return None
            self._erase("holds")
        self._renewed = -math.inf
        return others

    def _is_late(self) -> bool:
        """Tell whether another process may soon take this one for dead, or has."""
        return time.monotonic() - self._renewed > SECONDS / 2

    def _write(self, state: str) -> int:
        """Write the claim; return when that was, by the store's clock.

        Whoever sleeps between writing and looking finds it removed, as a dead one's, and writes it
        again; so long ago was the first time that it is late then.
        """
        self._renewed, path = time.monotonic(), f"{_FOLDER}/{self._name}/{self._who}.{state}"
        while True:
            objects.write(self._root, path, socket.gethostname().encode())
            for one in objects.found(self._root, path):
                return one.written

    def _erase(self, state: str) -> None:
        objects.erase(self._root, f"{_FOLDER}/{self._name}/{self._who}.{state}")

    def _others(self, now: int) -> list[_Claim]:
        """Return the living claims of others; the dead ones are removed."""
        claims = []
        for one in objects.found(self._root, f"{_FOLDER}/{self._name}"):
            who, _, state = one.path.rpartition("/")[2].rpartition(".")
            if who == self._who:
                continue
            if now - one.written > SECONDS * 1e9:
                objects.erase(self._root, one.path)
            else:
                claims.append(_Claim(who, state == "holds", one.written))
        return claims

    def _told_by(self, claim: _Claim) -> str:
        path = f"{_FOLDER}/{self._name}/{claim.who}.holds"
        return (objects.read(self._root, path, 1000) or b"another process").decode()


@contextmanager
def leased(root: str, name: str) -> Iterator[Lease]:
    """Hold a lease while the context lasts."""
    lease = Lease(root, name)
    keeper = threading.Thread(target=lease.keep, name="lease", daemon=True)
    try:
        lease.acquire()
        keeper.start()
        yield lease
    finally:
        lease.end()
        if keeper.ident is not None:
            keeper.join()
        lease.release()


def living(root: str) -> list[str]:
    """Return the names of the leases that somebody holds or asks for."""
    mine = f"{_FOLDER}/now/{uuid.uuid4().hex}"
    objects.write(root, mine, b"")
    (now,) = objects.found(root, mine)
    objects.erase(root, mine)
    claims = objects.found(root, _FOLDER)
    young = [one for one in claims if now.written - one.written <= SECONDS * 1e9]
    return sorted({one.path.split("/", 1)[1].rpartition("/")[0] for one in young})
