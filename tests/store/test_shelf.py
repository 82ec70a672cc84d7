"""Unfinished state in a store: what one node pushes the others see, and a folder is just that."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.store.s3_server import be_busy
from wd.errors import ArtifactError
from wd.places import Place, cache_folder
from wd.store.shelf import Shelf, here, names, pull, push, remove


@pytest.fixture(params=["folder", "store"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        (tmp_path / "shelf").mkdir()
        return tmp_path / "shelf"
    return Shelf(request.getfixturevalue("store_root"), ".work/teacher/0123")


@pytest.fixture
def another_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what makes this process one with another, empty disk."""
    numbers = iter(range(1, 100))

    def move() -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"node-{next(numbers)}"))

    return move


def write(place: Place, text: str) -> None:
    here(place).parent.mkdir(parents=True, exist_ok=True)
    here(place).write_text(text)
    push(place)


def test_what_is_pushed_is_seen_elsewhere(shelf: Place, another_node: Callable[[], None]) -> None:
    write(shelf / "one.txt", "one")
    write(shelf / "folder" / "two.txt", "two")
    assert names(shelf) == ["folder", "one.txt"]
    another_node()
    assert names(shelf) == ["folder", "one.txt"]
    assert Path(shelf / "one.txt").read_text() == "one"
    assert (pull(shelf / "folder") / "two.txt").read_text() == "two"


def test_what_is_written_again_is_fetched_again(
    shelf: Place, another_node: Callable[[], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also if it has the same size: another attempt's checkpoint has."""
    write(shelf / "state", "one")
    another_node()
    assert Path(shelf / "state").read_text() == "one"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    import time

    time.sleep(1.1)  # a store tells seconds
    write(shelf / "state", "two")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "node-1"))
    assert Path(shelf / "state").read_text() == "two"


def test_what_is_removed_is_gone_for_all(shelf: Place, another_node: Callable[[], None]) -> None:
    write(shelf / "folder" / "one", "1")
    write(shelf / "folder" / "two", "2")
    another_node()
    pull(shelf / "folder")
    remove(shelf / "folder" / "one")
    assert names(shelf / "folder") == ["two"]
    remove(shelf / "folder")
    assert "folder" not in names(shelf)
    assert not pull(shelf / "folder").exists()
    another_node()
    assert not pull(shelf / "folder" / "two").exists()


def test_a_file_appears_last_if_asked(store_root: str, another_node: Callable[[], None]) -> None:
    shelf = Shelf(store_root, ".work/teacher/0123")
    folder = shelf / "update-1"
    here(folder).mkdir()
    for name in ("SUMS", "a", "z"):
        (here(folder) / name).write_text(name)
    sent: list[str] = []
    real = Shelf._send
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shelf, "_send", lambda one, path: (sent.append(path.name), real(one, path)))
        push(folder, last="SUMS")
    assert sorted(sent[:2]) == ["a", "z"]
    assert sent[2:] == ["SUMS"]


def test_only_what_changed_is_fetched(store_root: str, another_node: Callable[[], None]) -> None:
    shelf = Shelf(store_root, ".work/corpus/0123")
    for name in ("a", "b"):
        write(shelf / "parts" / name, name)
    another_node()
    pull(shelf / "parts")
    before = {path.name: path.stat().st_ino for path in here(shelf / "parts").iterdir()}
    write(shelf / "parts" / "c", "c")
    (here(shelf / "parts") / "a").unlink()
    pull(shelf / "parts")
    after = {path.name: path.stat().st_ino for path in here(shelf / "parts").iterdir()}
    assert after.keys() == {"a", "b", "c"}
    assert after["b"] == before["b"]


def test_a_busy_store_is_asked_again(store_server: str, store_root: str) -> None:
    shelf = Shelf(store_root, ".work/corpus/0123")
    be_busy(store_server, 4)
    try:
        for number in range(10):
            write(shelf / f"{number}", f"{number}")
        shutil.rmtree(cache_folder())
        assert [Path(shelf / name).read_text() for name in names(shelf)] == names(shelf)
    finally:
        be_busy(store_server, 0)


def test_a_store_that_is_away_is_told(store_root: str) -> None:
    nowhere = Shelf("s3://bucket/x?endpoint_override=http%3A%2F%2F127.0.0.1%3A1", ".work/a/b")
    with pytest.raises(ArtifactError, match=r"root s3://bucket/x.*is the store running"):
        names(nowhere)
