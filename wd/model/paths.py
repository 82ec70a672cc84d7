"""Which of two ways to the same result a computation takes: what is fast on a CPU, or on a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

_forced = False


def takes_gpu_path(tensor: Tensor) -> bool:
    """Whether to compute with a tensor as is fast on a GPU."""
    return _forced or tensor.is_cuda


@contextmanager
def gpu_paths() -> Iterator[None]:
    """Take a GPU's ways on any device while this lasts: to count and to test them without one."""
    global _forced
    before, _forced = _forced, True
    try:
        yield
    finally:
        _forced = before
