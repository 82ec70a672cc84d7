"""Work whose state is in a store goes on there, whatever became of this node's disk."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from wd.config import RayConfig
from wd.distributed.map import map_parts
from wd.distributed.train import fit
from wd.errors import DataError
from wd.places import cache_folder
from wd.store import objects
from wd.store.shelf import Shelf, names, pull, push
from wd.training.checkpoint import DIGESTS, OPTIMIZER
from wd.training.job import TrainingJob, result_of
from wd.training.loop import Interrupted, Wish
from wd.training.run import run_job
from wd.training.world import World

HERE = RayConfig(workers=0)
Job = Callable[..., TrainingJob]


@pytest.fixture
def scratch(store_root: str) -> Shelf:
    return Shelf(store_root, ".work/teacher/0123456789ab")


def stopped_at(update: int, job: TrainingJob) -> None:
    """Train so far, save, stop, and lose the disk."""
    wishes = iter(["go on"] * (update - 1) + ["stop"])

    def wish() -> Wish:
        return next(wishes)  # type: ignore[return-value]

    with pytest.raises(Interrupted):
        run_job(job, World(), lambda _: None, wish)
    shutil.rmtree(cache_folder())


@pytest.mark.parametrize("phase", ["model", "generator"])
def test_a_training_goes_on_from_the_store(job: Job, scratch: Shelf, phase: str) -> None:
    whole = job("whole", phase, average_last=2, ema_decay=0.9)
    broken = replace(whole, scratch=scratch)
    stopped_at(6, broken)
    assert names(scratch / "checkpoints") == ["update-00000004", "update-00000006"]
    stopped_at(3, broken)  # of those that were left: update 9
    assert "update-00000009" in names(scratch / "checkpoints")
    assert OPTIMIZER not in names(scratch / "checkpoints" / "update-00000004")  # for an average
    resumed, unbroken = fit(broken, HERE), fit(whole, HERE)
    for name, weight in unbroken.module.items():
        assert torch.equal(resumed.module[name], weight), name
    shutil.rmtree(cache_folder())
    again = result_of(broken)  # at once: it is finished
    assert again is not None
    assert again.figures["history"] == unbroken.figures["history"]
    assert torch.equal(next(iter(again.weights.values())), next(iter(unbroken.weights.values())))


def test_a_checkpoint_that_was_half_sent_is_none(job: Job, scratch: Shelf) -> None:
    broken = replace(job("broken"), scratch=scratch)
    stopped_at(6, broken)
    newest = scratch / "checkpoints" / "update-00000006"
    objects.erase(newest.root, f"{newest.path}/{DIGESTS}")
    with pytest.warns(UserWarning, match="skipping a damaged checkpoint"):
        resumed = fit(broken, HERE)
    for name, weight in fit(job("whole"), HERE).weights.items():
        assert torch.equal(resumed.weights[name], weight), name


class Upper:
    """A worker that fails at one text, until it is told not to."""

    def __init__(self, log: Path, bad: str = "") -> None:
        self._log, self._bad = log, bad

    def __call__(self, part: Path, out: Path) -> dict[str, Any]:
        text = part.read_text()
        if text == self._bad:
            raise DataError(f"{text} is bad")
        with self._log.open("a") as stream:
            stream.write(f"{text}\n")
        out.write_text(text.upper())
        return {"letters": len(text)}


@pytest.mark.parametrize("built", [False, True])
def test_a_map_goes_on_from_the_store(scratch: Shelf, tmp_path: Path, built: bool) -> None:
    texts, log = ["a", "bb", "ccc"], tmp_path / "log"
    parts = [scratch / "raw" / f"part-{number}" for number in range(3)]
    for part, text in zip(parts, texts, strict=True):
        part.here.write_text(text)
        push(part)
    out = scratch / "upper"

    def mapped(*args: Any) -> list[dict[str, Any]]:
        if built:
            return map_parts(Upper, parts, out, config=HERE, actor_args=args)
        return map_parts(Upper(*args), parts, out, config=HERE)

    with pytest.raises(DataError, match="ccc is bad"):
        mapped(log, "ccc")
    shutil.rmtree(cache_folder())
    assert mapped(log) == [{"letters": 1}, {"letters": 2}, {"letters": 3}]
    assert log.read_text().split() == texts  # each once
    shutil.rmtree(cache_folder())
    assert [Path(out / part.name).read_text() for part in parts] == ["A", "BB", "CCC"]
    assert not list(pull(out).glob(".*.partial"))
