"""Memory on the CPU: what one training step frees, the next one takes again."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""These are parameters of `mallopt`, as glibc's malloc.h numbers them."""


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks instead of returning them.

    By default a large tensor's memory goes back to the kernel when it is freed, and the next step
    waits while each page of it is handed out and zeroed anew. Without glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)  # blocks of their own would go back to the kernel whole
        mallopt(_TRIM_THRESHOLD, -1)  # never
