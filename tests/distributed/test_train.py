"""Training on Ray workers is training in this process."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.waiting import wait_until
from wd.config import ObjectiveConfig, RayConfig
from wd.distributed.train import fit
from wd.errors import ConfigError, DeviceMemoryError, UserError
from wd.training.job import TrainingJob, result_of

Job = Callable[..., TrainingJob]
pytestmark = pytest.mark.slow


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute with one thread, as a worker does: bits depend on how many add up."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_two_workers_equal_one(job: Job, ray_session: None) -> None:
    # Workers draw different dropout masks, so there must be none.
    objective = ObjectiveConfig(word_kd=0.5, hidden_states=0.5)
    alone = replace(job("alone", "generator", dropout=0.0), objective=objective)
    shared = replace(alone, scratch=alone.scratch.with_name("shared"))
    one = fit(alone, RayConfig(workers=0))
    two = fit(shared, RayConfig(workers=2, cpus_per_worker=0.5))
    for name, weight in one.weights.items():
        if name.endswith("key.bias"):
            continue  # the softmax cancels it: its gradient is rounding noise, which Adam scales up
        torch.testing.assert_close(two.weights[name], weight, rtol=1e-3, atol=1e-4)
    assert fit(shared, RayConfig(workers=2)).figures == two.figures  # at once: it is finished


def test_a_worker_of_two_threads_translates_and_keeps_both(
    job: Job, ray_session: None, two_threads: None
) -> None:
    """What it trains after validations is what this process does, which never translates."""
    silent = job("silent", "generator", updates=8)
    config = silent.config.model_copy(update={"bleu_sentences": 5})
    translating = replace(silent, config=config, scratch=silent.scratch.with_name("translating"))
    one = fit(silent, RayConfig(workers=0))
    other = fit(translating, RayConfig(workers=1, cpus_per_worker=2))
    for name, weight in one.module.items():
        assert torch.equal(other.module[name], weight), name


def test_a_user_error_of_one_worker_arrives_whole(
    job: Job, tmp_path: Path, ray_session: None
) -> None:
    # Only rank 0 translates; the other one waits for it.
    bad = job("bad", bleu_sentences=5)
    bad = replace(bad, held_out=replace(bad.held_out, tokenizer=tmp_path / "nothing"))
    with pytest.raises(UserError, match=r"nothing/source\.model: no such tokenizer model"):
        fit(bad, RayConfig(workers=2, cpus_per_worker=0.5))


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.long)])
def test_workers_that_do_not_see_the_data_are_told(
    job: Job, tmp_path: Path, ray_session: None, workers: int
) -> None:
    away = replace(job("away"), train=(tmp_path / "elsewhere",))
    with pytest.raises(UserError, match=r"has no .*elsewhere: put root on a file system that all"):
        fit(away, RayConfig(workers=workers, cpus_per_worker=0.5))


def test_ctrl_c_saves_and_the_same_call_goes_on(
    job: Job, ray_session: None, one_thread: None
) -> None:
    asked = job("asked", updates=400, validate_every=100, log_every=10)
    once = replace(asked, scratch=asked.scratch.with_name("once"))
    fit(once, RayConfig(workers=0))
    stop = threading.Thread(target=interrupt_after, args=(asked.scratch / "checkpoints", 100))
    stop.start()
    with pytest.raises(KeyboardInterrupt):
        fit(asked, RayConfig(workers=1, cpus_per_worker=0.5))
    stop.join()
    newest = max((asked.scratch / "checkpoints").glob("update-*"))
    assert 100 <= int(newest.name.removeprefix("update-")) < 400
    done = fit(asked, RayConfig(workers=0))
    for name, weight in result_of(once).weights.items():
        assert torch.equal(done.weights[name], weight), name


def interrupt_after(folder: Path, update: int) -> None:
    """Send Ctrl-C to this process as soon as there is a checkpoint of an update."""
    wait_until((folder / f"update-{update:08d}").is_dir, seconds=300)
    os.kill(os.getpid(), signal.SIGINT)


def test_batches_that_cannot_be_shared_are_refused(job: Job) -> None:
    with pytest.raises(ConfigError, match="2 batches cannot be shared by 3 workers"):
        fit(job("one"), RayConfig(workers=3))


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_lack_of_memory_arrives_once_and_names_the_keys(
    job: Job, ray_session: None, workers: int
) -> None:
    one = job("vast")
    vast = replace(one, model=one.model.model_copy(update={"target_vocabulary": 10**11}))
    with pytest.raises(
        DeviceMemoryError, match=r"allocate memory(.|\n)*lower shards\.batch_tokens"
    ):
        fit(vast, RayConfig(workers=workers, cpus_per_worker=0.5))
