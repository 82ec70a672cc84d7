"""What must hold for the cross-entropy."""

import pytest
import torch
from torch.nn import functional

from wd.data.schema import PAD
from wd.training.loss import cross_entropy


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
