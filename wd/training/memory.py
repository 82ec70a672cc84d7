"""Memory on the CPU: what one training step frees, the next one takes again."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""`mallopt` parameters of glibc's malloc.h."""
_LARGEST = 32 * 2**20
"""The most that glibc takes for its mmap threshold, in bytes."""


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks of up to 32 MiB, up to 2 GiB, instead of returning them.

    By default a large tensor's memory goes back to the kernel when it is freed, and the next step
    waits while each page of it is handed out and zeroed anew. Without glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
