"""A teacher whose word distributions are stored teaches as one that runs beside its student."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from wd.config import ObjectiveConfig
from wd.data.batches import Batch, ShardReader
from wd.data.schema import PAD, part_files
from wd.errors import ArtifactError
from wd.model.directory import load_transformer
from wd.model.paths import gpu_paths
from wd.training.job import TrainingJob, result_of
from wd.training.loss import stored_divergence
from wd.training.run import make_trainee, run_job
from wd.training.teacher_pass import PartDistributions
from wd.training.world import World

PHASES = ["model", "generator"]
WHOLE = 10_000
OBJECTIVE = ObjectiveConfig(word_kd=0.7, temperature=2.0)
Stored = Callable[..., TrainingJob]


@pytest.fixture
def stored(job: Callable[..., TrainingJob]) -> Stored:
    """Return a function that makes a guided job of two equal folders, and stores their words."""

    def make(name: str, phase: str, top_k: int, precision: str, **changes: Any) -> TrainingJob:
        whole = job(name, "generator", **changes)
        folder = whole.scratch.parent / f"words-{top_k}-{precision}"  # type: ignore[attr-defined]
        if not folder.exists():
            folder.mkdir()
            worker = PartDistributions(whole.teacher, top_k, precision, "cpu")
            for part in part_files(whole.train[0]):
                worker(part, folder / part.name)
        return replace(
            whole,
            name=phase,
            generator=whole.generator if phase == "generator" else None,
            objective=OBJECTIVE,
            train=whole.train * 2,
            words=(folder, folder),
        )

    return make


def gradients(job: TrainingJob, index: int) -> tuple[Tensor, list[Tensor]]:
    """Return the loss of two batches, one of either folder, and what it does to the weights."""
    trainee, reader = make_trainee(job, World()), ShardReader(job.train, job.words)
    trainee.module.train()
    loss = trainee.backward([reader[index], reader[len(reader) - 1 - index]], 1 / 100)
    return loss, [each.grad for each in trainee.module.parameters() if each.grad is not None]


@pytest.mark.parametrize("phase", PHASES)
def test_the_whole_vocabulary_in_float32_is_the_teacher(stored: Stored, phase: str) -> None:
    one = stored("one", phase, WHOLE, "float32", dropout=0.0)
    for index in (0, 2):
        (ours, grads), (theirs, expected) = (
            gradients(job, index) for job in (one, replace(one, words=()))
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0.0)
        assert len(grads) == len(expected) > 10
        for found, wanted in zip(grads, expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("float16", 5e-3)])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_of_some_words_the_probabilities_sum_to_one(
    stored: Stored, precision: str, tolerance: float, temperature: float
) -> None:
    job = stored("one", "generator", 5, precision)
    batch = ShardReader(job.train, job.words)[1]
    with torch.no_grad():
        teacher_BTV = load_transformer(Path(job.teacher))(batch.source_BS, batch.target_in_BT)
    logits_BTV = torch.randn_like(teacher_BTV).requires_grad_()
    inside = batch.target_BT != PAD
    best = teacher_BTV[inside].topk(5).indices
    p_NK = (teacher_BTV[inside].gather(1, best) / temperature).softmax(-1)
    q_NK = (logits_BTV[inside] / temperature).log_softmax(-1).gather(1, best)
    expected = temperature**2 * (p_NK * (p_NK.log() - q_NK)).sum()
    (wanted,) = torch.autograd.grad(expected, logits_BTV)
    for paths in (nullcontext(), gpu_paths()):
        with paths:
            found = stored_divergence(logits_BTV, batch.words, batch.target_BT, temperature)
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
        (gradient,) = torch.autograd.grad(found, logits_BTV)
        torch.testing.assert_close(gradient, wanted, rtol=tolerance, atol=tolerance)


def test_padding_changes_nothing(stored: Stored) -> None:
    job = stored("one", "generator", 5, "float16")
    batch = ShardReader(job.train, job.words)[0]
    logits = torch.randn(*batch.target_BT.shape, 60)
    filled = batch.filled(16)
    more = torch.randn(len(logits), filled.target_BT.shape[1], 60)
    more[:, : logits.shape[1]] = logits
    losses = [
        stored_divergence(each, one.words, one.target_BT, 1.0)
        for each, one in ((logits, batch), (more, filled))
    ]
    assert more.shape != logits.shape
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("phase", PHASES)
def test_no_teacher_runs(stored: Stored, phase: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wd.training.run.load_transformer", None)
    job = stored("one", phase, 5, "float16", updates=4)
    run_job(job, World(), lambda _: None)
    assert result_of(job) is not None


@pytest.mark.parametrize("phase", PHASES)
def test_a_resumed_run_equals_an_unbroken_one(stored: Stored, phase: str) -> None:
    class KilledError(Exception):
        """Stands for whatever ends a process."""

    def kill(figures: dict[str, Any]) -> None:
        if figures["update"] == 8:
            raise KilledError

    broken = stored("broken", phase, 5, "float16")
    whole = replace(broken, scratch=broken.scratch.parent / "whole")  # type: ignore[attr-defined]
    with pytest.raises(KilledError):
        run_job(broken, World(), kill)
    for job in (broken, whole):
        run_job(job, World(), lambda _: None)
    ours, theirs = result_of(broken), result_of(whole)
    assert ours is not None
    assert theirs is not None
    for name, weight in theirs.module.items():
        assert torch.equal(ours.module[name], weight), name


def test_the_words_are_part_of_what_a_job_is(stored: Stored) -> None:
    one = stored("one", "model", 5, "float16")
    prints = {
        each.fingerprint()
        for each in (one, replace(one, words=()), stored("one", "model", 6, "float16"))
    }
    assert len(prints) == 3


def test_words_of_other_batches_are_refused(stored: Stored) -> None:
    job = stored("one", "model", 5, "float16")
    (part,) = part_files(job.words[0])
    with pq.ParquetFile(part) as file:
        groups = [file.read_row_group(group) for group in range(file.num_row_groups)]
    with pq.ParquetWriter(part, groups[0].schema) as writer:
        for group in groups[1:]:
            writer.write_table(group)
    with pytest.raises(ArtifactError, match=r"its \d+ rows are not those of the \d+ batches"):
        ShardReader(job.train, job.words)
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(ArtifactError, match="not a whole Parquet file"):
        ShardReader(job.train, job.words)
    part.unlink()
    with pytest.raises(ArtifactError, match="no stored distributions"):
        ShardReader(job.train, job.words)


def test_every_batch_has_its_own(stored: Stored) -> None:
    job = stored("one", "model", 3, "float32")
    teacher, reader = load_transformer(Path(job.teacher)), ShardReader(job.train, job.words)

    def best(batch: Batch) -> Tensor:
        with torch.no_grad():
            logs_BTV = teacher(batch.source_BS, batch.target_in_BT).log_softmax(-1)
        return logs_BTV.topk(3).values * (batch.target_BT != PAD)[..., None]

    for index in range(len(reader)):
        batch = reader[index]
        assert batch.words is not None
        torch.testing.assert_close(batch.words.logs_BTK, best(batch), rtol=1e-4, atol=1e-5)
