"""Independent pieces of work at the same time, each in a process of its own on the cluster."""

import signal
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch

from wd.config import RayConfig
from wd.distributed.accelerator import gpu_on_cluster, gpu_share
from wd.distributed.interruption import noted
from wd.distributed.resources import Want, await_room, room, scales, watched
from wd.distributed.runtime import ensure_ray, lost
from wd.logs import Voice

if TYPE_CHECKING:
    from ray import ObjectRef

_LOOK_SECONDS = 1.0
"""So often it is looked whether to stop."""


def side_by_side(
    pieces: Mapping[str, Callable[[], None]],
    *,
    config: RayConfig,
    concurrent: int,
    announce: Callable[[str], None],
) -> None:
    """Call every piece, up to `concurrent` at a time, and announce each by its name.

    A piece gets a training worker's CPUs (and threads) and its share of a GPU, if GPUs are used; it
    is called again, up to `config.max_failures` times, if its process is lost. Whatever a piece
    raises is raised here, after the others were interrupted and have ended. So it is after Ctrl-C
    or SIGTERM, with KeyboardInterrupt. Raises UserError if processes are lost too often, and
    ClusterError if the cluster has no room for a single piece and will have none.
    """
    ensure_ray(config)
    import ray

    gpus = gpu_share(config, gpu_on_cluster(config))
    want = Want(config.cpus_per_worker, gpus, "ray.cpus_per_worker")
    await_room(want, "training side by side")
    if not scales():  # else those without a place make nodes come
        concurrent = min(concurrent, room(want))
    threads, voice = config.threads, Voice.here()

    def call(piece: Callable[[], None]) -> None:
        # Ray interrupts a piece as Ctrl-C would, which whoever started us may have us ignore.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        torch.set_num_threads(threads)
        voice.adopt()
        piece()

    task = ray.remote(
        num_cpus=want.cpus,
        num_gpus=want.gpus,
        max_retries=config.max_failures,
        max_calls=1,  # else its process stays, idle, with all the memory that it ever had
    )(call)
    waiting = list(pieces.items())[::-1]
    running: dict[ObjectRef, str] = {}
    with (
        noted() as note,
        watched(want, "training side by side", lambda: room(want) > 0),
    ):
        try:
            while (waiting or running) and not note.is_set():
                while waiting and len(running) < concurrent:
                    name, piece = waiting.pop()
                    announce(f"training {name}")
                    running[task.options(name=name).remote(piece)] = name
                for ended in ray.wait(list(running), timeout=_LOOK_SECONDS)[0]:
                    name = running.pop(ended)
                    _check(ended, name, config)
                    announce(f"trained  {name}")
        finally:
            for one in running:
                ray.cancel(one)
            if running:  # what they have to save takes a moment
                ray.wait(list(running), num_returns=len(running))


def _check(ended: "ObjectRef", name: str, config: RayConfig) -> None:
    """Raise what a piece raised, or UserError if its process was lost."""
    import ray

    try:
        ray.get(ended)
    except ray.exceptions.RayTaskError:
        raise
    except ray.exceptions.RayError as error:
        raise lost(name, config.max_failures, error) from error
