"""Signals are noted, the second one is a signal again."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from wd.distributed.interruption import beside, noted


@pytest.fixture(autouse=True)
def _ctrl_c_is_heard() -> Iterator[None]:
    """Shells start what runs in the background deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with noted() as note:
        assert not note.is_set()
        os.kill(os.getpid(), number)
        assert note.is_set()
        assert signal.getsignal(number) is before
        note.clear()  # as who acts on it might; else it would be raised here
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_stops_at_once() -> None:
    wait = threading.Event()

    def interrupt() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)

    threading.Timer(0.1, interrupt).start()
    with pytest.raises(KeyboardInterrupt), noted():
        beside(wait.wait)
    wait.set()


def test_a_signal_that_nobody_acted_on_is_raised_in_the_end() -> None:
    with pytest.raises(KeyboardInterrupt), noted():
        os.kill(os.getpid(), signal.SIGTERM)


def test_what_runs_beside_returns_and_raises() -> None:
    def fail() -> None:
        raise ValueError("so")

    assert beside(threading.get_ident) != threading.get_ident()
    with pytest.raises(ValueError, match="so"):
        beside(fail)
