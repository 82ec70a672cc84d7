"""Pieces of work at the same time: all are called, few at once, and what one raises is told."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from wd.config import RayConfig
from wd.distributed.side_by_side import side_by_side
from wd.errors import DataError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]
CONFIG = RayConfig(cpus_per_worker=0.5)


def run(pieces: dict[str, Callable[[], None]], concurrent: int) -> list[str]:
    announced: list[str] = []
    side_by_side(pieces, config=CONFIG, concurrent=concurrent, announce=announced.append)
    return announced


def span(folder: Path, name: str) -> None:
    began = time.time()
    time.sleep(0.5)
    (folder / name).write_text(f"{began} {time.time()}")


@pytest.mark.parametrize("concurrent", [1, 2])
def test_every_piece_is_called_and_so_many_at_a_time(tmp_path: Path, concurrent: int) -> None:
    names = ["a", "b", "c", "d"]
    assert run({name: partial(span, tmp_path, name) for name in names}, concurrent) == names
    spans = [tuple(map(float, (tmp_path / name).read_text().split())) for name in names]
    most = max(sum(began <= one < ended for began, ended in spans) for one, _ in spans)
    assert most <= concurrent


def test_what_a_piece_raises_is_raised_and_nothing_more_begins(tmp_path: Path) -> None:
    def broken() -> None:
        raise DataError("corpus/part-0.parquet: empty")

    with pytest.raises(DataError, match=r"corpus/part-0.parquet: empty"):
        run({"broken": broken, "after": partial(span, tmp_path, "after")}, concurrent=1)
    assert not list(tmp_path.iterdir())
