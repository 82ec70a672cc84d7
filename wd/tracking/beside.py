"""Tracking beside the training, which a slow or lost server neither delays nor ends."""

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from wd.tracking.tracker import Tracker


class Beside:
    """Logs into a tracker's run from a thread.

    What a server that is away cannot be told is kept by the tracker; what a server refuses is told
    in the log.
    """

    def __init__(self, tracker: Tracker, thread: ThreadPoolExecutor) -> None:
        self._tracker = tracker
        self._thread = thread

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

    def observe(self, until: ExitStack) -> None:
        """Track this machine's load until the stack closes, which waits for this."""
        self._later(lambda: until.enter_context(self._tracker.system_metrics()))

    def _later(self, log: Callable[[], object]) -> None:
        self._thread.submit(self._try, log)

    def _try(self, log: Callable[[], object]) -> None:
        try:
            log()
        except Exception as error:  # a thread's are seen by nobody else
            _tell(error)


@contextmanager
def beside(tracker: Tracker) -> Iterator[Beside]:
    """Track also this machine while the context lasts; at its end everything is logged or kept."""
    with ExitStack() as stack, ThreadPoolExecutor(1, "tracking") as thread:
        tracking = Beside(tracker, thread)
        tracking.observe(stack)
        yield tracking


def _tell(error: Exception) -> None:
    logging.getLogger(__name__).warning("not tracked: %s", error)
