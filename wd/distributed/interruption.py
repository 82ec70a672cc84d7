"""Ctrl-C and SIGTERM during training: save first, then stop; a second one stops at once."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

_LOG = logging.getLogger(__name__)
SIGNALS = (signal.SIGINT, signal.SIGTERM)
Result = TypeVar("Result")


@contextmanager
def noted() -> Iterator[threading.Event]:
    """While the context lasts, turn the first signal into an event that can be looked for.

    Raises KeyboardInterrupt in the end if a signal came that nobody acted on, who would have
    cleared it. Only a process's main thread gets signals; elsewhere this does nothing.
    """
    note = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield note
        return
    # None belongs to somebody outside Python; who ignores a signal, as `nohup` does, still does.
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    before = {
        n: handler for n, handler in handlers.items() if handler not in (None, signal.SIG_IGN)
    }

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note_it(number: int, frame: FrameType | None) -> None:
        del number, frame
        restore()
        note.set()
        _LOG.info("saving, then stopping; once more stops at once")

    for number in before:
        signal.signal(number, note_it)
    try:
        yield note
        if note.is_set():
            raise KeyboardInterrupt
    finally:
        restore()


def beside(function: Callable[[], Result]) -> Result:
    """Run a function in a thread, so that it sets no signal handlers and this one gets signals."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    # As a daemon it does not hold up a process that a second signal ends.
    threading.Thread(target=run, daemon=True).start()
    return future.result()
