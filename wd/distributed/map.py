"""Part files mapped by Ray Data, a task or an actor for each; without workers in this process."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

from wd import errors
from wd.config import RayConfig
from wd.distributed.here import map_here, map_with
from wd.distributed.parts import Stats, Worker, is_done, make, remove_leftovers, stats_of
from wd.distributed.runtime import ensure_ray, room


def map_parts(
    worker: Worker | Callable[..., Worker],
    parts: Sequence[Path],
    out: Path,
    *,
    config: RayConfig,
    actor_args: tuple[Any, ...] | None = None,
) -> list[Stats]:
    """Call `worker(part, out / part.name)` for every part; return its statistics in parts' order.

    With `actor_args`, `worker` is a class: every actor builds it once as `worker(*actor_args)`
    and calls that (on a GPU of its own if `config.gpu`). Only `worker` opens the parts, so a
    part may also be a mere name for some work. With `config.workers` 0 there is no Ray: the parts
    are made here, to the same bytes.

    A part appears in `out` when it is complete, its statistics in a hidden file beside it;
    parts that are there already are not made again, so a killed job goes on where it was.
    `out` must be visible from every machine of the cluster. Raises the worker's UserError.
    """
    out = out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    todo = [part.absolute() for part in parts if not is_done(out / part.name)]
    if todo and config.workers:
        _run(worker, todo, out, config, actor_args)
    elif todo and actor_args is not None:
        map_with(cast(Callable[..., Worker], worker), actor_args, todo, out)
    elif todo:
        map_here(cast(Worker, worker), todo, out, cpus=config.map_cpus)
    remove_leftovers(out / part.name for part in todo)
    return [stats_of(out / part.name) for part in parts]


def _run(
    worker: Worker | Callable[..., Worker],
    todo: Sequence[Path],
    out: Path,
    config: RayConfig,
    actor_args: tuple[Any, ...] | None,
) -> None:
    ensure_ray(config)
    import ray

    rows = ray.data.from_items(
        [{"part": str(part)} for part in todo], override_num_blocks=len(todo)
    )
    if actor_args is None:
        results = rows.map(_Part(cast(Worker, worker), out), num_cpus=config.map_cpus)
    else:
        slots = min(len(todo), room(config.map_cpus, gpu=config.gpu, key="ray.map_cpus"))
        results = rows.map(
            _PartInActor,
            fn_constructor_args=(worker, actor_args, out),
            # One part in flight each: a second one would wait behind it while others idle.
            compute=ray.data.ActorPoolStrategy(size=slots, max_tasks_in_flight_per_actor=1),
            num_cpus=config.map_cpus,
            num_gpus=1 if config.gpu else None,
        )
    for failed in (row for row in results.take_all() if row["kind"]):
        raise errors.from_data(failed)


class _Part:
    """Makes one part; a user's mistake comes back as a row, not as a remote traceback."""

    def __init__(self, worker: Worker, out: Path) -> None:
        self._worker = worker
        self._out = out

    def __call__(self, row: dict[str, str]) -> dict[str, str]:
        part = Path(row["part"])
        try:
            make(self._worker, part, self._out / part.name)
        except errors.UserError as error:
            return errors.to_data(error)
        return {"kind": "", "message": ""}


class _PartInActor(_Part):
    """The same, with a worker that is built once."""

    def __init__(self, worker: Callable[..., Worker], args: tuple[Any, ...], out: Path) -> None:
        # At the first part and not here: an error in an actor's constructor kills the actor, and
        # Ray tells of that only.
        built = cache(lambda: worker(*args))
        super().__init__(lambda part, made: built()(part, made), out)
