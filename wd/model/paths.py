"""Which of two ways to the same result a computation takes: what is fast on a CPU, or on a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_forced = False


def takes_gpu_path(tensor: Tensor) -> bool:
    """Whether to compute with a tensor as is fast on a GPU."""
    return _forced or tensor.is_cuda


def product_dtype(tensor: Tensor) -> torch.dtype:
    """Return what autocast would round a tensor to in a product, else its own dtype."""
    device = tensor.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else tensor.dtype


@contextmanager
def gpu_paths() -> Iterator[None]:
    """Take a GPU's ways on any device while this lasts: to count and to test them without one."""
    global _forced
    before, _forced = _forced, True
    try:
        yield
    finally:
        _forced = before
