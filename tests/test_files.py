"""Hashing reads a file once while it stays as it is; writing leaves a whole file, or what was."""

import hashlib
import os
from pathlib import Path

import pytest

from wd.files import known_sha256, remove, sha256, whole


def test_a_known_digest_follows_the_file(tmp_path: Path) -> None:
    path = tmp_path / "text"
    for text in (b"one", b"two", b"three"):
        path.write_bytes(text)
        os.utime(path, ns=(0, len(text) + text[0]))  # clocks may be coarser than this test
        assert known_sha256(path) == sha256(path) == hashlib.sha256(text).hexdigest()


def test_the_same_file_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"one")
    state = path.stat()
    first = known_sha256(path)
    path.write_bytes(b"two")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert known_sha256(path) == first != sha256(path)


def write_half(path: Path) -> None:
    path.write_text("half")
    raise TypeError


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("before")
    with pytest.raises(TypeError), whole(path) as partial:
        write_half(partial)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("text", "before")]


@pytest.mark.parametrize("before", ["nothing", "file", "folder"])
def test_a_folder_takes_the_place_of_anything(tmp_path: Path, before: str) -> None:
    path = tmp_path / "made"
    if before == "file":
        path.write_text("old")
    if before == "folder":
        path.mkdir()
        (path / "old").touch()
    (tmp_path / ".made.partial").mkdir()
    (tmp_path / ".made.partial" / "of a killed process").touch()
    with whole(path) as partial:
        partial.mkdir()
        (partial / "new").touch()
    assert [one.relative_to(tmp_path).as_posix() for one in sorted(tmp_path.rglob("*"))] == [
        "made",
        "made/new",
    ]


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    remove(tmp_path / "link")
    assert [one.name for one in tmp_path.iterdir()] == ["kept"]
