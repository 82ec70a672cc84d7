"""What processes want of a cluster: whether it has that, and the waiting until it does."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from wd.distributed.runtime import is_own
from wd.errors import ClusterError

_LOG = logging.getLogger(__name__)
TELL_SECONDS = 60.0
"""So often it is told what is waited for."""
PATIENCE_SECONDS = 600.0
"""So long a cluster that does not grow by itself has for its nodes to come up."""
_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Want:
    """Processes, all alike, each on one node."""

    cpus: float
    gpus: float
    key: str
    """The recipe's key that sets the CPUs."""
    processes: int = 1

    @property
    def bundle(self) -> dict[str, float]:
        """The resources of one process, as Ray has them."""
        return {"CPU": self.cpus} | ({"GPU": self.gpus} if self.gpus else {})

    def __str__(self) -> str:
        number = "a process" if self.processes == 1 else f"{self.processes} processes"
        each = "" if self.processes == 1 else " each"
        gpus = f" and {self.gpus:g} GPU" if self.gpus else ""
        return f"{number} of {self.cpus:g} CPUs{gpus}{each}"


def room(want: Want) -> int:
    """Return how many such processes the nodes that are up could hold if they were idle."""
    return sum(_fitting(node, want) for node in _nodes())


def await_room(want: Want, who: str) -> None:
    """Return when all of a want fits the cluster, or will by the cluster's own doing.

    The rule: a cluster that this process started has all it will ever have. One with an autoscaler
    gets what Ray's queue asks for, however long that takes. Any other has ten minutes for its
    nodes to join; what those are busy with is waited for without limit. Raises ClusterError.
    """
    began, told = time.monotonic(), float("-inf")
    while room(want) < want.processes and not scales():
        now = time.monotonic()
        if is_own() or now - began > PATIENCE_SECONDS:
            raise ClusterError(f"{want.key}, ray.gpu: {_wanted(want)}")
        if now - told > TELL_SECONDS:
            told = now
            say_waiting(want, who)
        time.sleep(_LOOK_SECONDS)


@contextmanager
def watched(want: Want, who: str, begun: Callable[[], bool]) -> Iterator[None]:
    """Say once a minute what is waited for, while the context lasts and nothing has begun."""
    end = threading.Event()

    def watch() -> None:
        while not end.wait(TELL_SECONDS) and not begun():
            say_waiting(want, who)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def say_waiting(want: Want, who: str) -> None:
    """Say what somebody waits for, and what there is."""
    _LOG.info("%s: waiting for room: %s", who, _wanted(want))


def most_cpus() -> float | None:
    """Return the CPUs of the largest node that is up, None if no node has any."""
    return max((node.get("CPU", 0.0) for node in _nodes()), default=0.0) or None


def _wanted(want: Want) -> str:
    import ray

    has, free = ray.cluster_resources(), ray.available_resources()
    return (
        f"it wants {want}, the cluster has {has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} "
        f"GPUs in all on {len(_nodes())} nodes ({free.get('CPU', 0):g} and {free.get('GPU', 0):g} "
        "of them free)"
    )


def _nodes() -> list[dict[str, float]]:
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _fitting(node: dict[str, float], want: Want) -> int:
    fitting = int(node.get("CPU", 0.0) / want.cpus)
    if want.gpus:
        # A process has its share of one card, not the rests of two.
        fitting = min(fitting, int(1 / want.gpus + 1e-9) * int(node.get("GPU", 0.0)))
    return fitting


def scales() -> bool:
    """Tell whether the cluster has an autoscaler that starts nodes, as far as can be seen.

    Ray's monitor of a cluster without one calls each node's type `node_` and its id; an autoscaler
    has the names of its configuration. Where no monitor says anything, one outside may.
    """
    if is_own():
        return False
    from ray.experimental.internal_kv import _internal_kv_get

    status = _internal_kv_get("__autoscaling_status")
    if not status:
        return True
    types = json.loads(status).get("autoscaler_report", {}).get("active_nodes", {})
    return not types or any(not name.startswith("node_") for name in types)
