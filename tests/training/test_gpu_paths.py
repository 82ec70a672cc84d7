"""A step along a GPU's paths is the CPU's step, eager or compiled, and waits for no result."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from wd.config import ObjectiveConfig
from wd.data.batches import ShardReader
from wd.model.paths import gpu_paths
from wd.training.job import TrainingJob
from wd.training.run import make_trainee
from wd.training.world import World

MakeJob = Callable[..., TrainingJob]
WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::_unique2", "aten::unique_dim"}


def step(job: TrainingJob, *, on_gpu: bool, filled: int = 1) -> tuple[float, dict[str, Tensor]]:
    """Return the loss of an update of two batches, and the weights after it."""
    with gpu_paths() if on_gpu else nullcontext():
        trainee = make_trainee(job, World())
        trainee.module.train()
        reader = ShardReader(job.train)
        batches = [reader[index].filled(filled) for index in (0, 1)]
        loss = trainee.backward(batches, 1 / int(reader.tokens[:2].sum()))
        trainee.step(1)
        return loss.item(), {name: each.clone() for name, each in trainee.weights().items()}


def check(found: tuple[float, Any], expected: tuple[float, Any], tolerance: float) -> None:
    assert found[0] == pytest.approx(expected[0], rel=tolerance)
    torch.testing.assert_close(found[1], expected[1], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("phase", ["model", "generator"])
def test_a_step_is_the_same_on_both_paths(job: MakeJob, phase: str) -> None:
    # Adam's first step is the sign of the gradient, which noise may turn where there is none.
    settings = {"dropout": 0.0, "learning_rate": 1e-4, "warmup_updates": 1}
    one = job("step", phase, **settings)
    for filled in (1, 8):
        check(step(one, on_gpu=True, filled=filled), step(one, on_gpu=False), 3e-4)


@pytest.mark.parametrize("phase", ["model", "generator"])
def test_a_step_in_bfloat16_is_nearly_the_same(job: MakeJob, phase: str) -> None:
    settings = {"dropout": 0.0, "learning_rate": 1e-4, "warmup_updates": 1}
    one = job("step", phase, precision="bfloat16", **settings)
    found, expected = step(one, on_gpu=True), step(one, on_gpu=False)
    assert found[0] == pytest.approx(expected[0], rel=3e-3)


def test_a_guide_s_words_are_compared_alike(job: MakeJob) -> None:
    one = job("guided", "generator", dropout=0.0, learning_rate=1e-4, warmup_updates=1)
    one = replace(one, objective=ObjectiveConfig(word_kd=0.5, temperature=2.0))
    check(step(one, on_gpu=True, filled=8), step(one, on_gpu=False), 3e-4)


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["model", "generator"])
def test_a_compiled_step_is_the_same(job: MakeJob, phase: str) -> None:
    settings = {"dropout": 0.0, "learning_rate": 1e-4, "warmup_updates": 1}
    expected = step(job("eager", phase, **settings), on_gpu=False)
    check(step(job("compiled", phase, compile=True, **settings), on_gpu=True), expected, 3e-4)


class Seen(TorchDispatchMode):
    """Holds the names of the operations that were dispatched while it lasted."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.names.add(operation._schema.name)
        return operation(*args, **kwargs or {})


@pytest.mark.parametrize("phase", ["model", "generator"])
def test_a_step_never_waits_for_the_device(job: MakeJob, phase: str) -> None:
    one = job("step", phase, precision="bfloat16", ema_decay=0.9, clip_norm=1.0)
    with gpu_paths():
        trainee = make_trainee(one, World())
        trainee.module.train()
        reader = ShardReader(one.train)
        trainee.backward([reader[0]], 0.1)
        trainee.step(1)
        with Seen() as seen:
            trainee.backward([reader[1]], 0.1)
            norm, _ = trainee.step(2)
            assert not seen.names & WAITS, "the host read what the device computes"
            norm.item()
        assert seen.names & WAITS, "what this test looks for is not how torch calls it"
