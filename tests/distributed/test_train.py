"""Training on Ray workers is training in this process."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from wd.config import RayConfig
from wd.distributed.train import fit
from wd.errors import ConfigError, UserError
from wd.training.job import TrainingJob

Job = Callable[..., TrainingJob]
pytestmark = pytest.mark.slow


def test_two_workers_equal_one(job: Job, ray_session: None) -> None:
    # Workers draw different dropout masks, so there must be none.
    alone = job("alone", "generator", dropout=0.0)
    shared = TrainingJob(**{**vars(alone), "scratch": alone.scratch.with_name("shared")})
    one = fit(alone, RayConfig(workers=0))
    two = fit(shared, RayConfig(workers=2, cpus_per_worker=0.5))
    for name, weight in one.weights.items():
        if name.endswith("key.bias"):
            continue  # the softmax cancels it: its gradient is rounding noise, which Adam scales up
        torch.testing.assert_close(two.weights[name], weight, rtol=1e-3, atol=1e-4)
    assert fit(shared, RayConfig(workers=2)).figures == two.figures  # at once: it is finished


def test_a_user_error_of_one_worker_arrives_whole(
    job: Job, tmp_path: Path, ray_session: None
) -> None:
    # Only rank 0 translates; the other one waits for it.
    bad = job("bad", bleu_sentences=5)
    bad = replace(bad, held_out=replace(bad.held_out, tokenizer=tmp_path / "nothing"))
    with pytest.raises(UserError, match="nothing"):
        fit(bad, RayConfig(workers=2, cpus_per_worker=0.5))


def test_batches_that_cannot_be_shared_are_refused(job: Job) -> None:
    with pytest.raises(ConfigError, match="2 batches cannot be shared by 3 workers"):
        fit(job("one"), RayConfig(workers=3))
