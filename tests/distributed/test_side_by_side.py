"""Pieces of work at the same time: all are called, few at once, and what one raises is told."""

import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.waiting import wait_until
from wd.config import RayConfig
from wd.distributed.side_by_side import side_by_side
from wd.errors import ClusterError, DataError, UserError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]
CONFIG = RayConfig(cpus_per_worker=0.5)


def run(pieces: dict[str, Callable[[], None]], concurrent: int) -> list[str]:
    announced: list[str] = []
    side_by_side(pieces, config=CONFIG, concurrent=concurrent, announce=announced.append)
    return announced


def span(folder: Path, name: str) -> None:
    began = time.time()
    time.sleep(1.5)
    (folder / name).write_text(f"{began} {time.time()}")


@pytest.mark.parametrize("concurrent", [1, 2])
def test_every_piece_is_called_and_so_many_at_a_time(tmp_path: Path, concurrent: int) -> None:
    names = ["a", "b", "c", "d"]
    told = run({name: partial(span, tmp_path, name) for name in names}, concurrent)
    assert [line for line in told if "training" in line] == [f"training {name}" for name in names]
    assert sorted(line for line in told if "trained" in line) == [
        f"trained  {name}" for name in names
    ]
    spans = [tuple(map(float, (tmp_path / name).read_text().split())) for name in names]
    most = max(sum(began <= one < ended for began, ended in spans) for one, _ in spans)
    assert most == concurrent


def test_a_process_that_is_done_is_gone_with_its_memory(tmp_path: Path) -> None:
    def piece() -> None:
        (tmp_path / str(os.getpid())).touch()

    run({"a": piece, "b": piece}, concurrent=1)
    processes = [int(path.name) for path in tmp_path.iterdir()]
    assert len(processes) == 2
    wait_until(lambda: not any(map(psutil.pid_exists, processes)), seconds=20)


def test_what_a_piece_raises_is_raised_and_nothing_more_begins(tmp_path: Path) -> None:
    def broken() -> None:
        raise DataError("corpus/part-0.parquet: empty")

    with pytest.raises(DataError, match=r"corpus/part-0.parquet: empty"):
        run({"broken": broken, "after": partial(span, tmp_path, "after")}, concurrent=1)
    assert not list(tmp_path.iterdir())


def until_interrupted(folder: Path) -> None:
    try:
        (folder / "began").touch()
        while True:
            time.sleep(0.05)
    except KeyboardInterrupt:
        time.sleep(2)  # to save takes longer than to leave
        (folder / "saved").touch()
        raise


def interrupt_when(began: Path, number: int) -> None:
    def interrupt() -> None:
        wait_until(began.exists)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt, daemon=True).start()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_is_interrupted_lets_all_save_first(tmp_path: Path, number: int) -> None:
    interrupt_when(tmp_path / "began", number)
    with pytest.raises(KeyboardInterrupt):
        run({"one": partial(until_interrupted, tmp_path)}, concurrent=1)
    assert (tmp_path / "saved").exists()


def test_a_lost_process_is_started_again_and_too_many_are_told(tmp_path: Path) -> None:
    def dies(times: int) -> None:
        tries = len(list(tmp_path.iterdir()))
        (tmp_path / str(tries)).touch()
        if tries < times:
            os.kill(os.getpid(), signal.SIGKILL)

    config = CONFIG.model_copy(update={"max_failures": 1})
    side_by_side({"a": partial(dies, 1)}, config=config, concurrent=1, announce=print)
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(UserError, match=r"b: its process was lost 2 times \(ray.max_failures 1\)"):
        side_by_side({"b": partial(dies, 9)}, config=config, concurrent=1, announce=print)


def test_what_no_node_has_is_told_at_once() -> None:
    config = RayConfig(cpus_per_worker=64)
    with pytest.raises(ClusterError, match=r"ray.cpus_per_worker.* wants a process of 64 CPUs"):
        side_by_side({"a": lambda: None}, config=config, concurrent=1, announce=print)
