"""Tracking beside the training, which a slow or lost server neither delays nor ends."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from wd.errors import TrackingError
from wd.tracking.tracker import Tracker


class Beside:
    """Logs into a tracker's run from a thread.

    What cannot be logged is told on standard error and lost, and so is what was to be logged
    while it was tried.
    """

    def __init__(self, tracker: Tracker, thread: ThreadPoolExecutor) -> None:
        self._tracker = tracker
        self._thread = thread
        self._failed = -1.0

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """See `Tracker.log_metrics`."""
        self._later(lambda: self._tracker.log_metrics(metrics, step))

    def log_file(self, path: Path, folder: str = "") -> None:
        """See `Tracker.log_file`; the file may change at once."""
        content = path.read_bytes()

        def log() -> None:
            with TemporaryDirectory() as place:
                copy = Path(place) / path.name
                copy.write_bytes(content)
                self._tracker.log_file(copy, folder)

        self._later(log)

    def _later(self, log: Callable[[], None]) -> None:
        self._thread.submit(self._try, log, time.monotonic())

    def _try(self, log: Callable[[], None], asked: float) -> None:
        if asked < self._failed:
            return
        try:
            log()
        except Exception as error:  # a thread's are seen by nobody else
            self._failed = time.monotonic()
            _tell(error)


@contextmanager
def beside(tracker: Tracker) -> Iterator[Beside]:
    """Track also this machine while the context lasts; at its end everything is logged or lost."""
    with ThreadPoolExecutor(1, "tracking") as thread, ExitStack() as stack:
        try:
            stack.enter_context(tracker.system_metrics())
        except TrackingError as error:
            _tell(error)
        yield Beside(tracker, thread)


def _tell(error: Exception) -> None:
    print(f"not tracked: {error}", file=sys.stderr, flush=True)
