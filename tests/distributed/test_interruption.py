"""Signals become a note, the second one is a signal again."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wd.distributed.interruption import beside, noted


@pytest.fixture(autouse=True)
def _ctrl_c_is_heard() -> Iterator[None]:
    """Shells start what runs in the background deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted(tmp_path: Path, number: signal.Signals) -> None:
    note, before = tmp_path / "run" / "stop", signal.getsignal(number)
    with noted(note):
        assert not note.exists()
        os.kill(os.getpid(), number)
        assert note.exists()
        assert signal.getsignal(number) is before
        note.unlink()  # as who acts on it might; else it would be raised here
    assert not note.exists()
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    wait = threading.Event()

    def interrupt() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)

    threading.Timer(0.1, interrupt).start()
    with pytest.raises(KeyboardInterrupt), noted(tmp_path / "stop"):
        beside(wait.wait)
    wait.set()


def test_a_signal_that_nobody_acted_on_is_raised_in_the_end(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), noted(tmp_path / "stop"):
        os.kill(os.getpid(), signal.SIGTERM)
    assert not (tmp_path / "stop").exists()


def test_an_old_note_is_no_wish(tmp_path: Path) -> None:
    (tmp_path / "stop").touch()
    with noted(tmp_path / "stop"):
        assert not (tmp_path / "stop").exists()


def test_what_runs_beside_returns_and_raises() -> None:
    def fail() -> None:
        raise ValueError("so")

    assert beside(threading.get_ident) != threading.get_ident()
    with pytest.raises(ValueError, match="so"):
        beside(fail)
