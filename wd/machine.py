"""What this machine lets a process have."""

import os


def usable_cpus() -> int:
    """Return how many CPUs this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
