"""Memory: what one training step frees, the next one takes again."""

import ctypes
import gc
import sys
from collections.abc import Callable

import torch

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""These are parameters of `mallopt`, as glibc's malloc.h numbers them."""
_THRESHOLD_BYTES, _MMAPS = 128 * 1024, 65_536
"""What glibc has for them by default."""


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks instead of returning them.

    By default a large tensor's memory goes back to the kernel when it is freed, and the next step
    waits while each page of it is handed out and zeroed anew. Without glibc nothing happens.
    """
    if mallopt := _of_glibc("mallopt"):
        mallopt(_MMAP_MAX, 0)  # blocks of their own would go back to the kernel whole
        mallopt(_TRIM_THRESHOLD, -1)  # never


def give_freed_memory_back() -> None:
    """Undo `keep_freed_memory`, and return what is free: to the kernel, to the GPU's driver."""
    if mallopt := _of_glibc("mallopt"):
        mallopt(_MMAP_MAX, _MMAPS)
        mallopt(_TRIM_THRESHOLD, _THRESHOLD_BYTES)
    gc.collect()  # what was trained is held in circles
    empty_gpu_cache()
    if trim := _of_glibc("malloc_trim"):
        trim(0)


def empty_gpu_cache() -> None:
    """Give back what torch keeps of a GPU's memory for later: CTranslate2 cannot use it."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _of_glibc(name: str) -> Callable[..., int] | None:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), name, None)
