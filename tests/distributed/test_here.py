"""Part files mapped without Ray."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.distributed.text_parts import visible, write_parts
from tests.waiting import wait_until
from wd.config import RayConfig
from wd.distributed import here
from wd.distributed.map import map_parts
from wd.errors import DataError, UserError

CONFIG = RayConfig(workers=0)


def upper(log: Path, part: Path, out: Path) -> dict[str, Any]:
    with log.open("a") as stream:
        stream.write(f"{part.name} {os.getpid()}\n")
    text = part.read_text()
    if text == "bad":
        raise DataError(f"{part}: is bad")
    if text == "kill":
        out.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
    if text == "wait":
        time.sleep(600)
    out.write_text(text.upper())
    return {"letters": len(text)}


class Suffix:
    built = 0

    def __init__(self, suffix: str) -> None:
        Suffix.built += 1
        self._suffix = suffix

    def __call__(self, part: Path, out: Path) -> dict[str, Any]:
        out.write_text(part.read_text() + self._suffix)
        return {"number": Suffix.built}


def processes(log: Path) -> set[int]:
    return {int(line.split()[1]) for line in log.read_text().splitlines()}


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a pool pay after the first part."""
    monkeypatch.setattr(here, "_WORTH", 0.0)
    monkeypatch.setattr(here, "usable_cpus", lambda: 2)


def test_few_parts_are_made_by_this_process_in_order(tmp_path: Path) -> None:
    parts, log = write_parts(tmp_path / "in", "a", "bcd"), tmp_path / "log"
    stats = map_parts(partial(upper, log), parts, tmp_path / "out", config=CONFIG)
    assert stats == [{"letters": 1}, {"letters": 3}]
    assert visible(tmp_path / "out") == {"part-0": "A", "part-1": "BCD"}
    assert processes(log) == {os.getpid()}


@pytest.mark.usefixtures("many")
def test_many_parts_are_made_by_processes_beside_it_to_the_same_bytes(tmp_path: Path) -> None:
    parts, log = write_parts(tmp_path / "in", *"abcd"), tmp_path / "log"
    stats = map_parts(partial(upper, log), parts, tmp_path / "out", config=CONFIG)
    assert [part["letters"] for part in stats] == [1, 1, 1, 1]
    assert sorted(visible(tmp_path / "out").values()) == [*"ABCD"]
    assert len(processes(log) - {os.getpid()}) >= 1
    assert log.read_text().count(f" {os.getpid()}\n") == 1  # the one that was timed


@pytest.mark.parametrize("pool", [False, True])
def test_an_error_stops_and_the_next_call_goes_on(
    tmp_path: Path, pool: bool, request: pytest.FixtureRequest
) -> None:
    if pool:
        request.getfixturevalue("many")
    parts, log = write_parts(tmp_path / "in", "a", "bad", "c"), tmp_path / "log"
    with pytest.raises(DataError, match="part-1: is bad"):
        map_parts(partial(upper, log), parts, tmp_path / "out", config=CONFIG)
    assert "part-1" not in visible(tmp_path / "out")
    parts[1].write_text("good")
    map_parts(partial(upper, log), parts, tmp_path / "out", config=CONFIG)
    assert visible(tmp_path / "out") == {"part-0": "A", "part-1": "GOOD", "part-2": "C"}
    assert log.read_text().count("part-0 ") == 1


@pytest.mark.usefixtures("many")
def test_a_lost_process_is_told_and_leaves_nothing_after_the_next_call(tmp_path: Path) -> None:
    parts, log = write_parts(tmp_path / "in", "a", "kill", "c"), tmp_path / "log"
    with pytest.raises(UserError, match=r"was lost, .* raise ray.map_cpus"):
        map_parts(partial(upper, log), parts, tmp_path / "out", config=CONFIG)
    parts[1].write_text("good")
    map_parts(partial(upper, log), parts, tmp_path / "out", config=CONFIG)
    assert visible(tmp_path / "out") == {"part-0": "A", "part-1": "GOOD", "part-2": "C"}
    assert not list((tmp_path / "out").glob("*.partial"))


def test_a_worker_class_is_built_once(tmp_path: Path) -> None:
    parts = write_parts(tmp_path / "in", "a", "b", "c")
    stats = map_parts(Suffix, parts, tmp_path / "out", config=CONFIG, actor_args=("!",))
    assert visible(tmp_path / "out") == {"part-0": "a!", "part-1": "b!", "part-2": "c!"}
    assert stats == [{"number": 1}] * 3


DRIVER = """
import sys
from functools import partial
from pathlib import Path
from tests.distributed.test_here import upper
from wd.config import RayConfig
from wd.distributed import here
from wd.distributed.map import map_parts

here._WORTH, here.usable_cpus = 0.0, lambda: 2
folder = Path(sys.argv[1])
parts = sorted((folder / "in").iterdir())
map_parts(partial(upper, folder / "log"), parts, folder / "out", config=RayConfig(workers=0))
"""


def test_processes_end_with_a_killed_parent(tmp_path: Path) -> None:
    write_parts(tmp_path / "in", "a", "wait", "wait")
    root = str(Path(__file__).parents[2])
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path)], env={**os.environ, "PYTHONPATH": root}
    )
    log = tmp_path / "log"
    wait_until(lambda: log.exists() and len(processes(log)) == 3)
    driver.kill()
    driver.wait()
    for process in processes(log) - {driver.pid}:
        wait_until(lambda process=process: not Path(f"/proc/{process}").exists())
