"""What this machine lets a process have."""

import os
import platform
from pathlib import Path


def usable_cpus() -> int:
    """Return how many CPUs this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def described() -> str:
    """Return this machine's name, its processor and how many CPUs of it may be used."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:  # not Linux
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    model = next(models, "") or platform.processor() or platform.machine()
    return f"{platform.node()}, {model}, {usable_cpus()} CPUs"
