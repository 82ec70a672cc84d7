"""What a GPU must give as the CPU does; WD_TEST_DEVICE=cuda asks it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.device import ASKED, DEVICE
from wd.data.batches import ShardReader
from wd.data.schema import PAD
from wd.model.transformer import Transformer
from wd.training.job import TrainingJob
from wd.training.run import make_trainee
from wd.training.world import World

pytestmark = pytest.mark.skipif(not ASKED, reason="set WD_TEST_DEVICE")
CPU = torch.device("cpu")
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}
"""Of float32 sums in another order."""


@pytest.fixture(autouse=True)
def plain_float32() -> None:
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_logits(random_model: Callable[..., Transformer], norm: str) -> None:
    model = random_model(norm=norm)
    source = torch.randint(4, model.config.source_vocabulary, (3, 9))
    source[1, 5:] = PAD
    target = torch.randint(4, model.config.target_vocabulary, (3, 7))
    expected = model(source, target)
    found = model.to(DEVICE)(source.to(DEVICE), target.to(DEVICE))
    torch.testing.assert_close(found.cpu(), expected, **CLOSE)


@pytest.mark.parametrize("phase", ["model", "generator"])
@pytest.mark.parametrize("compiled", [False, True])
def test_one_update(job: Callable[..., TrainingJob], phase: str, compiled: bool) -> None:
    task = job("one", phase, dropout=0.0)
    expected_loss, expected = updated(task, CPU)
    config = task.config.model_copy(update={"compile": compiled})
    loss, found = updated(replace(task, config=config), DEVICE)
    torch.testing.assert_close(loss, expected_loss, **CLOSE)
    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, **CLOSE), name


def updated(task: TrainingJob, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss of a job's first update and its gradients, on the CPU."""
    trainee, reader = make_trainee(task, World(device=device)), ShardReader(task.train)
    trainee.module.train()
    batches = [reader[0], reader[len(reader) - 1]]
    loss = trainee.backward(batches, 1 / int(reader.tokens[[0, len(reader) - 1]].sum()))
    named = trainee.module.named_parameters()
    return loss.cpu(), {name: each.grad.cpu() for name, each in named if each.grad is not None}
