import os
import threading
import time
from pathlib import Path

import pytest

from pipelines.tools import incoming
from pipelines.tools.incoming import groups
from wd.errors import DataError


def test_a_file_comes_in_full_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "text"
    lines = [f"{number} \u00e4\u4e16" * (number % 40) for number in range(1000)]
    path.write_bytes("\n".join(lines).encode())
    for most, block in ((2048, 1 << 16), (300, 7)):
        monkeypatch.setattr(incoming, "LINES", most)
        monkeypatch.setattr(incoming, "_READ", block)
        with path.open("rb") as stream:
            found = list(groups(stream))
        assert [line for group in found for line in group] == lines
        assert {len(group) for group in found[:-1]} <= {most}
    monkeypatch.setattr(incoming, "BYTES", 100)
    with path.open("rb") as stream:
        assert max(sum(map(len, group[:-1])) for group in groups(stream)) < 100


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a", ["a"]),
        (b"a\r\nb\rc\n\r\n", ["a", "b\rc", ""]),
        (b"a\n\nb\n", ["a", "", "b"]),
    ],
)
def test_ends_of_lines(tmp_path: Path, text: bytes, lines: list[str]) -> None:
    path = tmp_path / "text"
    path.write_bytes(text)
    with path.open("rb") as stream:
        assert [line for group in groups(stream) for line in group] == lines


def test_a_pipe_s_line_does_not_wait_for_the_next() -> None:
    out, into = os.pipe()
    with os.fdopen(out, "rb") as stream:
        found = groups(stream)
        os.write(into, b"one\ntwo\nthr")
        assert next(found) == ["one", "two"]
        threading.Timer(0.3, os.write, (into, b"ee\n")).start()
        started = time.monotonic()
        assert next(found) == ["three"]
        assert time.monotonic() - started > 0.2
        os.write(into, b"end")
        os.close(into)
        assert list(found) == [["end"]]


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "LONGEST", 1 << 20)
    path = tmp_path / "text"
    path.write_bytes(b"a\n" + b"x" * (1 << 20) + b"\n")
    with path.open("rb") as stream:
        assert [len(line) for group in groups(stream) for line in group] == [1, 1 << 20]
    path.write_bytes(b"a\n" + b"x" * (1 << 21))
    with path.open("rb") as stream, pytest.raises(DataError, match="1 MiB without a line feed"):
        list(groups(stream))
