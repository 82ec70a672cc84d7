"""What must hold for a training run, of a model and of a generator."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from wd.errors import UserError
from wd.training.job import TrainingJob, result_of, run_job
from wd.training.world import World

Job = Callable[..., TrainingJob]
PHASES = ["model", "generator"]


class KilledError(Exception):
    """Stands for whatever ends a process."""


def run(job: TrainingJob, on_validation: Callable[[dict[str, Any]], None] = lambda _: None) -> Any:
    run_job(job, World(), on_validation)
    return result_of(job)


def equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("phase", PHASES)
def test_learns(job: Job, phase: str) -> None:
    figures = run(job("one", phase, updates=60, validate_every=20)).figures
    losses = [entry["loss"] for entry in figures["history"]]
    assert losses[0] > losses[1] > losses[2]
    assert figures["validation"]["loss"] < losses[0]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("stop", [4, 8])
def test_a_resumed_run_equals_an_unbroken_one(job: Job, phase: str, stop: int) -> None:
    def kill(figures: dict[str, Any]) -> None:
        # The checkpoint of this update is not written any more.
        if figures["update"] == stop + 4:
            raise KilledError

    # Phase 1 reads its teacher again, so both runs must see the same one.
    torch.manual_seed(3)
    broken = job("broken", phase)
    whole = TrainingJob(**{**vars(broken), "scratch": broken.scratch.with_name("whole")})
    with pytest.raises(KilledError):
        run(broken, kill)
    assert result_of(broken) is None
    resumed, unbroken = run(broken), run(whole)
    assert equal(resumed.module, unbroken.module)
    assert equal(resumed.weights, unbroken.weights)


@pytest.mark.parametrize("phase", PHASES)
def test_a_damaged_newest_checkpoint_is_skipped(job: Job, phase: str) -> None:
    def kill(figures: dict[str, Any]) -> None:
        if figures["update"] == 12:
            raise KilledError

    broken = job("broken", phase)
    whole = TrainingJob(**{**vars(broken), "scratch": broken.scratch.with_name("whole")})
    with pytest.raises(KilledError):
        run(broken, kill)
    newest = max((broken.scratch / "checkpoints").iterdir()) / "weights.safetensors"
    newest.write_bytes(newest.read_bytes()[:100])
    with pytest.warns(UserWarning, match="damaged checkpoint"):
        resumed = run(broken)
    assert equal(resumed.weights, run(whole).weights)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("rate", [1e-3, 5e-2])
def test_the_result_is_the_better_of_mean_and_last(job: Job, phase: str, rate: float) -> None:
    from wd.model.directory import load_weights
    from wd.training.trainee import mean_state

    done = job("one", phase, learning_rate=rate)
    result = run(done)
    kept = sorted((done.scratch / "checkpoints").iterdir())
    assert [folder.name for folder in kept] == ["update-00000008", "update-00000012"]
    states = [load_weights(folder / "weights.safetensors") for folder in kept]
    candidates = {"average": mean_state(states), "last": states[-1]}
    assert equal(result.module, candidates[result.figures["published"]])
    assert result.figures["validation"]["loss"] <= result.figures["history"][-1]["loss"]


@pytest.mark.parametrize("phase", PHASES)
def test_two_batches_weigh_like_one_of_both(job: Job, phase: str, held_out: Any) -> None:
    """Gradients are those of the mean loss over all target pieces, however they are batched."""
    from wd.data.batches import ShardReader
    from wd.training.job import _trainee

    task = job("one", phase, dropout=0.0)
    reader = ShardReader(task.train)
    trainee = _trainee(task, World())
    gradients = []
    for batches in ([[0, 1]], [[0], [1]]):
        trainee.module.zero_grad()
        for indices in batches:
            trainee.backward([reader[index] for index in indices], 1 / 100)
        gradients.append([p.grad.clone() for p in trainee.module.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_divergence_is_told(job: Job) -> None:
    with pytest.raises(UserError, match=r"diverged before update \d+: the loss is .*learning_rate"):
        run(job("one", learning_rate=1e30, initial_learning_rate=1e30, log_every=2))


def test_bleu_is_of_the_live_weights(job: Job) -> None:
    figures = run(job("one", updates=4, bleu_sentences=5)).figures
    assert 0 <= figures["validation"]["bleu"] <= 100
