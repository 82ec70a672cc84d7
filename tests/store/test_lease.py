"""One process at a time has a lease; who died loses it, who was away asks again."""

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.store.s3_server import be_busy
from tests.waiting import wait_until
from wd.store import lease, objects
from wd.store.lease import Lease, leased, living

NAME = "teacher-0123456789ab"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a dead one lose it after three seconds."""
    hurry(monkeypatch)


def hurry(patch: pytest.MonkeyPatch, dead: float = 3.0) -> None:
    patch.setattr(lease, "SECONDS", dead)
    patch.setattr(lease, "RENEW_SECONDS", 0.5)
    patch.setattr(lease, "SETTLE_SECONDS", 0.1)
    patch.setattr(lease, "LOOK_SECONDS", 0.3)


def _appending(root: str, log: Path, times: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        hurry(patch, dead=60.0)  # nobody dies here, and a busy machine may keep one asleep
        for _ in range(times):
            with leased(root, NAME), log.open("a") as stream:
                stream.write("in\n")
                stream.flush()
                time.sleep(0.05)
                stream.write("out\n")


@pytest.mark.parametrize("busy", [0, 7])
def test_it_keeps_others_out(store_server: str, store_root: str, tmp_path: Path, busy: int) -> None:
    log, spawn = tmp_path / "log", multiprocessing.get_context("spawn")
    contenders = [spawn.Process(target=_appending, args=(store_root, log, 3)) for _ in range(4)]
    be_busy(store_server, busy)
    try:
        for one in contenders:
            one.start()
        for one in contenders:
            one.join(120)
            assert one.exitcode == 0
    finally:
        be_busy(store_server, 0)
    assert log.read_text().split() == ["in", "out"] * 12
    assert objects.found(store_root, f".leases/{NAME}") == []


def _holding(root: str, held: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        hurry(patch)
        with leased(root, NAME):
            held.touch()
            time.sleep(600)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_dead_holder_loses_it(
    store_root: str, tmp_path: Path, quick: None, number: signal.Signals
) -> None:
    held = tmp_path / "held"
    holder = multiprocessing.get_context("spawn").Process(target=_holding, args=(store_root, held))
    holder.start()
    wait_until(held.exists, alive=holder.is_alive)
    assert living(store_root) == [NAME]
    assert holder.pid is not None
    os.kill(holder.pid, number)
    began = time.monotonic()
    try:
        with leased(store_root, NAME):
            assert time.monotonic() - began > 1.5
            if number == signal.SIGSTOP:  # it wakes up, and does not take it back
                os.kill(holder.pid, signal.SIGCONT)
                time.sleep(1.5)
                mine = objects.found(store_root, f".leases/{NAME}")
                assert len([one for one in mine if one.path.endswith(".holds")]) == 1
    finally:
        holder.kill()
        holder.join()


def test_a_living_holder_keeps_it(store_root: str, quick: None) -> None:
    got = threading.Event()

    def ask() -> None:
        with leased(store_root, NAME):
            got.set()

    with leased(store_root, NAME):
        other = threading.Thread(target=ask)
        other.start()
        assert not got.wait(5.0)  # longer than a dead one would
    assert got.wait(5.0)
    other.join()


def test_of_two_that_mark_themselves_at_once_neither_wins(
    store_root: str, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both see the other's mark: whatever the timing, who wrote later sees the earlier one's."""
    first, second = Lease(store_root, NAME), Lease(store_root, NAME)
    first._write("holds")
    others = second._others(second._write("holds"))
    assert [one.holds for one in others] == [True]
    assert [one.holds for one in first._others(first._write("holds"))] == [True]
    for one in (first, second):
        one.release()


def test_who_slept_before_it_looked_writes_its_claim_again(
    store_root: str, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    def write(root: str, path: str, content: bytes) -> None:
        objects_write(root, path, content)
        written.append(path)
        if len(written) == 1:  # another one takes it for a dead one's
            objects.erase(root, path)

    objects_write = objects.write
    monkeypatch.setattr(objects, "write", write)
    with leased(store_root, NAME):
        assert written[0] == written[1]
        assert living(store_root) == [NAME]


def test_who_was_away_for_long_asks_again(store_root: str, quick: None) -> None:
    with leased(store_root, NAME) as held:
        assert not held.ensure()
        held._renewed -= 10.0  # as after a sleep
        wait_until(lambda: not held._is_late())
        assert held.ensure()  # another one may have had it
        time.sleep(2.0)
        assert not held._is_late()  # it is renewed as before


def test_who_was_away_waits_for_who_took_it(store_root: str, quick: None) -> None:
    other = Lease(store_root, NAME)
    with leased(store_root, NAME) as held:
        for one in objects.found(store_root, f".leases/{NAME}"):
            objects.erase(store_root, one.path)
        held._renewed -= 10.0
        other.acquire()
        time.sleep(1.5)  # longer than between two renewals
        assert held._is_late()
        other.release()
        wait_until(lambda: not held._is_late())
        assert held.ensure()
