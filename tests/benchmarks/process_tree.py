"""What this process's descendants use while a context lasts: CPU time, memory, reading, writing."""

import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import psutil

_EVERY_SECONDS = 1.0  # looking costs the machine, too


@dataclass
class _Seen:
    """One process: figures since it began, as they were when looked at last."""

    driver: bool
    worker: bool
    cpu_seconds: float
    read: int
    written: int
    memory: int


@dataclass(frozen=True)
class Usage:
    """Sums over all processes, and the largest; bytes."""

    cpu_seconds: float
    driver_cpu_seconds: float
    read: int
    written: int
    driver_memory: int
    worker_memory: int


class ProcessTree:
    """Use as a context manager; `usage` then tells."""

    def __init__(self) -> None:
        self._before: dict[int, _Seen] = {}
        self._seen: dict[int, _Seen] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._look()
        self._before = dict(self._seen)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._look()

    def usage(self) -> Usage:
        """Return what was used since the context began; memory at its highest."""
        began = self._before
        none = _Seen(False, False, 0.0, 0, 0, 0)
        pairs = [(now, began.get(pid, none)) for pid, now in self._seen.items()]
        return Usage(
            cpu_seconds=sum(now.cpu_seconds - then.cpu_seconds for now, then in pairs),
            driver_cpu_seconds=sum(now.cpu_seconds for now, _ in pairs if now.driver),
            read=sum(now.read - then.read for now, then in pairs),
            written=sum(now.written - then.written for now, then in pairs),
            driver_memory=max((now.memory for now, _ in pairs if now.driver), default=0),
            worker_memory=max((now.memory for now, _ in pairs if now.worker), default=0),
        )

    def _watch(self) -> None:
        while not self._over.wait(_EVERY_SECONDS):
            self._look()

    def _look(self) -> None:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                self._seen[process.pid] = _look_at(process, self._seen.get(process.pid))


def _look_at(process: psutil.Process, before: _Seen | None) -> _Seen:
    with process.oneshot():
        line, times, done = process.cmdline(), process.cpu_times(), process.io_counters()
        memory = process.memory_info().rss
    return _Seen(
        driver=line[1:3] == ["-m", "pipelines"],
        worker=bool(line) and line[0].startswith("ray::"),
        cpu_seconds=times.user + times.system,
        read=done.read_chars,
        written=done.write_chars,
        memory=max(memory, before.memory if before else 0),
    )
