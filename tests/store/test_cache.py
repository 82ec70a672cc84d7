"""Copies on this node: within a bound, least recently used first, never what somebody uses."""

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from wd.errors import UserError
from wd.places import cache_folder
from wd.store import cache
from wd.store.cache import LOCK, entry, make_room, most_bytes, size_of


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("WD_CACHE_GB", "0.000003")  # 3,000 bytes
    monkeypatch.setattr(cache, "_held", {})
    monkeypatch.setattr(cache, "_uncounted", {})


@pytest.fixture
def copy() -> Callable[[str, float], Path]:
    """Return a function that leaves 1,000 bytes of an unused thing, so many seconds old."""

    def make(name: str, age: float) -> Path:
        folder = cache_folder() / "artifacts" / name
        (folder / "files").mkdir(parents=True)
        (folder / "files" / "part").write_bytes(bytes(1000))
        (folder / LOCK).touch()
        then = time.time() - age
        os.utime(folder / LOCK, (then, then))
        return folder / "files" / "part"

    return make


def test_what_was_used_longest_ago_goes(copy: Callable[[str, float], Path]) -> None:
    middle, oldest, newest = copy("middle", 20), copy("oldest", 30), copy("newest", 10)
    make_room(0)
    assert all(each.exists() for each in (oldest, middle, newest))
    make_room(1000)
    assert [each.exists() for each in (oldest, middle, newest)] == [False, True, True]
    entry("artifacts", "middle")
    make_room(2000)
    assert [each.exists() for each in (middle, newest)] == [True, False]


def _using(name: str, pipe: Connection) -> None:
    entry("artifacts", name)
    pipe.send("held")
    pipe.recv()


def test_what_another_process_uses_stays_until_it_ends(copy: Callable[[str, float], Path]) -> None:
    used, unused = copy("used", 30), copy("unused", 10)
    ours, theirs = multiprocessing.Pipe()
    user = multiprocessing.get_context("spawn").Process(target=_using, args=("used", theirs))
    user.start()
    assert ours.recv() == "held"
    make_room(10_000)  # more than there can be
    assert used.exists()
    assert not unused.exists()
    user.kill()
    user.join()
    make_room(10_000)
    assert not used.exists()


def test_all_is_not_counted_at_every_part(
    copy: Callable[[str, float], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy("one", 10)
    counted: list[Path] = []
    monkeypatch.setattr(cache, "size_of", lambda folder: counted.append(folder) or size_of(folder))
    for _ in range(50):
        make_room(1)
    assert len(counted) == 2  # at first, and when a hundredth of the bound had come


def test_the_bound_is_a_share_of_the_disk_or_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert most_bytes() == 3000
    monkeypatch.setenv("WD_CACHE_GB", "much")
    with pytest.raises(UserError, match="WD_CACHE_GB=much: not a number of gigabytes"):
        most_bytes()
    monkeypatch.delenv("WD_CACHE_GB")
    assert most_bytes() > 1e9


def test_a_cache_that_was_emptied_meanwhile_is_made_again(tmp_path: Path) -> None:
    import shutil

    first = entry("artifacts", "one")
    shutil.rmtree(cache_folder())
    assert entry("artifacts", "one") == first
    assert (first / LOCK).exists()
