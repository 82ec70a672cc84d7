"""What must hold for the cross-entropy."""

from contextlib import nullcontext

import pytest
import torch
from torch.nn import functional

from wd.data.schema import PAD
from wd.model.paths import gpu_paths
from wd.training import lean_loss
from wd.training.loss import cross_entropy, word_divergence


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_torch_s(smoothing: float, dtype: torch.dtype) -> None:
    target = torch.randint(1, 30, (4, 6))
    target[1:3, 3:] = PAD
    logits = torch.randn(4, 6, 30).to(dtype)
    ours, theirs = (logits.clone().requires_grad_() for _ in range(2))
    loss = cross_entropy(ours, target, smoothing)
    expected = functional.cross_entropy(
        theirs.float().flatten(0, 1),
        target.flatten(),
        ignore_index=PAD,
        reduction="sum",
        label_smoothing=smoothing,
    )
    torch.testing.assert_close(loss, expected)
    (loss * 0.7).backward()
    (expected * 0.7).backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.fixture(params=["whole", "blocks", pytest.param("compiled", marks=pytest.mark.slow)])
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """The ways that a GPU takes: all rows at once, in blocks of seven, or compiled."""
    if request.param == "blocks":
        monkeypatch.setattr(lean_loss, "_BLOCK", 7 * 30)
    return bool(request.param == "compiled")


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_s_way_gives_the_same(smoothing: float, dtype: torch.dtype, compiled: bool) -> None:
    target = torch.randint(1, 30, (4, 6))
    target[1:3, 3:] = PAD
    logits = (3 * torch.randn(4, 6, 30)).to(dtype)
    results = []
    for paths in (nullcontext(), gpu_paths()):
        own = logits.clone().requires_grad_()
        with paths:
            loss = cross_entropy(own, target, smoothing, compiled=compiled)
            (loss * 0.7).backward()
        results.append((loss.detach(), own.grad))
    torch.testing.assert_close(results[1], results[0])


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_s_divergence_is_the_same(
    temperature: float, dtype: torch.dtype, compiled: bool
) -> None:
    target = torch.randint(1, 30, (4, 6))
    target[1:3, 3:] = PAD
    logits, teacher = ((3 * torch.randn(4, 6, 30)).to(dtype) for _ in range(2))
    results = []
    for paths in (nullcontext(), gpu_paths()):
        own = logits.clone().requires_grad_()
        with paths:
            loss = word_divergence(own, teacher, target, temperature, compiled=compiled)
            (loss * 0.7).backward()
        results.append((loss.detach(), own.grad))
    torch.testing.assert_close(results[1], results[0])
