"""Independent pieces of work at the same time, each in a process of its own on the cluster."""

from collections.abc import Callable, Mapping

from wd.config import RayConfig
from wd.distributed.runtime import ensure_ray


def side_by_side(
    pieces: Mapping[str, Callable[[], None]],
    *,
    config: RayConfig,
    concurrent: int,
    announce: Callable[[str], None],
) -> None:
    """Call every piece, `concurrent` at a time, and announce each by its name.

    A piece gets a training worker's CPUs (and threads) and, if `config.gpu`, a GPU; it is called
    again, up to `config.max_failures` times, if its process is lost. Whatever a piece raises is
    raised here, and stops the others.
    """
    ensure_ray(config)
    import ray

    def call(piece: Callable[[], None]) -> None:
        piece()

    task = ray.remote(
        num_cpus=config.cpus_per_worker,
        num_gpus=1 if config.gpu else 0,
        max_retries=config.max_failures,
    )(call)
    waiting = iter(pieces.items())
    running: list[ray.ObjectRef] = []
    try:
        while True:
            while len(running) < concurrent and (following := next(waiting, None)):
                name, piece = following
                announce(name)
                running.append(task.options(name=name).remote(piece))
            if not running:
                return
            ended, running = ray.wait(running)
            ray.get(ended)
    finally:
        for one in running:
            ray.cancel(one)
