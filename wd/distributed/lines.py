"""What a cluster's processes write: our workers' records are logged here, Ray's chatter is not."""

import logging
import re
from typing import Any

from wd.logs import SAID, hear, hearing, take_over

_LOG = logging.getLogger(__name__)
_CHATTER = re.compile(
    "|".join(
        (
            r"^\s*$",
            "Progress bars disabled",  # since ours is there
            "Cluster resources are not enough to run any task",  # who waits for room says so
            "Found multiple active Ray instances",
            # The libraries in C++, of things that go right.
            "has constructor arguments in the object store",
            "metrics exporter agent",
            "uncleared TaskHandle at shutdown",
            r"gcs_actor_scheduler\.cc:\d+: Failed to kill actor",
            r"Task ServeController\.graceful_shutdown failed",  # since it has shut down
            r"worker_pool\.cc:\d+: Some workers of the worker process",  # of a busy machine
        )
    )
)
"""Lines that say nothing of the work. What is not known here is shown, above all errors."""


def hear_workers() -> None:
    """From now on, log what the cluster's processes write, instead of having Ray print it.

    Ray calls one function of its own for whatever came from elsewhere, its notes of lost workers
    among it, which it would print to standard output.
    """
    import ray._private.worker as printing

    printing.print_worker_logs = _show
    take_over("ray", _CHATTER)
    hearing()


def _show(data: dict[str, Any], *how: Any, **more: Any) -> None:
    if data.get("pid") == "autoscaler" or data.get("actor_name") == "JobSupervisor":
        return  # who waits for room says so, and how a job ended is told to who submitted it
    for line in data.get("lines", []):
        if not hear(line) and not _CHATTER.search(line):
            _LOG.log(SAID, "(%s) %s", _who(data), line)


def _who(data: dict[str, Any]) -> str:
    """Return which process wrote something, as Ray has it."""
    if data.get("pid") == "raylet":
        return "raylet"
    name = data.get("actor_name") or data.get("task_name") or ""
    ip = "" if data.get("ip") == data.get("localhost") else f", ip={data.get('ip')}"
    return f"{name} pid={data.get('pid')}{ip}".strip()
