"""Part files mapped by Ray Data, a task or an actor for each; without workers in this process."""

import uuid
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from wd import errors
from wd.config import RayConfig
from wd.distributed.accelerator import gpu_on_cluster, gpu_share
from wd.distributed.here import map_here, map_with
from wd.distributed.parts import Stats, Worker, make, remove_leftovers, stats_of, undone
from wd.distributed.progress import Parts
from wd.distributed.resources import Want, await_room, room, scales, watched
from wd.distributed.runtime import ensure_ray
from wd.logs import Voice, take_over
from wd.places import Place
from wd.store.shelf import here

if TYPE_CHECKING:
    from ray.data import ActorPoolStrategy, DataContext, Dataset

    from wd.distributed.notes import Note


def map_parts(
    worker: Worker | Callable[..., Worker],
    parts: Sequence[Place],
    out: Place,
    *,
    config: RayConfig,
    actor_args: tuple[Any, ...] | None = None,
) -> list[Stats]:
    """Call `worker(part, out / part.name)` for every part; return its statistics in parts' order.

    With `actor_args`, `worker` is a class: every actor builds it once as `worker(*actor_args)`
    and calls that (with its share of a GPU, if GPUs are used). Only `worker` opens the parts, so a
    part may also be a mere name for some work. With `config.workers` 0 there is no Ray: the parts
    are made here, to the same bytes (but scores of translations, of which batches depend on the
    threads, may differ in their last bits).

    A part appears in `out` when it is complete, its statistics in a hidden file beside it;
    parts that are there already are not made again, so a killed job goes on where it was.
    Parts and `out` are places that every node sees. Raises the worker's UserError, and
    ClusterError if the cluster has no room and will have none.
    """
    out = _absolute(out)
    here(out).mkdir(parents=True, exist_ok=True)
    todo = [_absolute(part) for part in undone(parts, out)]
    made = Parts(out.name, total=len(parts), done=len(parts) - len(todo))
    if todo and config.workers:
        _run(worker, todo, out, config, actor_args, made)
    elif todo and actor_args is not None:
        map_with(cast(Callable[..., Worker], worker), actor_args, todo, out, made)
    elif todo:
        map_here(cast(Worker, worker), todo, out, made, cpus=config.map_cpus)
    remove_leftovers(todo, out)
    return stats_of(parts, out)


def _absolute(place: Place) -> Place:
    return place.absolute() if isinstance(place, Path) else place


def _run(
    worker: Worker | Callable[..., Worker],
    todo: Sequence[Place],
    out: Place,
    config: RayConfig,
    actor_args: tuple[Any, ...] | None,
    made: Parts,
) -> None:
    ensure_ray(config)
    from wd.distributed.notes import Note

    gpus = 0.0 if actor_args is None else gpu_share(config, gpu_on_cluster(config))
    want = Want(config.map_cpus, gpus, "ray.map_cpus")
    begun = Note(f"wd-{uuid.uuid4().hex}-begun")
    results = _mapped(worker, actor_args, want, (todo, out, Voice.here(), begun))
    who = f"making {out.name}"
    await_room(want, who)
    failed = []
    try:
        with watched(want, who, lambda: begun.read() is not None):
            for row in results.iter_rows():
                failed += [row] if row["kind"] else []
                made()
    finally:
        begun.remove()
    if failed:
        raise errors.from_data(failed[0])


def _mapped(
    worker: Worker | Callable[..., Worker],
    actor_args: tuple[Any, ...] | None,
    want: Want,
    work: tuple[Sequence[Place], Place, Voice, "Note"],
) -> "Dataset":
    """Return a data set with a row for each part, which is made when the row is asked for."""
    import ray

    _set_up(ray.data.DataContext.get_current())
    parts = len(work[0])
    rows = ray.data.from_items(
        [{"part": number} for number in range(parts)], override_num_blocks=parts
    )
    if actor_args is None:
        return rows.map(_Part(cast(Worker, worker), *work), num_cpus=want.cpus)
    return rows.map(
        _PartInActor,
        fn_constructor_args=(worker, actor_args, *work),
        compute=_pool(want, parts),
        num_cpus=want.cpus,
        num_gpus=want.gpus or None,
    )


def _set_up(context: "DataContext") -> None:
    take_over("ray")  # importing Ray Data has set up its own log
    context.execution_no_progress_timeout_s = -1  # a part may take hours, and so may a node to come
    context.enable_progress_bars = False  # of Ray's own
    # Ray Data would keep to the share of the cluster that an actor of its own assigns to it. That
    # is nothing beside another driver that keeps all busy, and for minutes after one was killed:
    # it then has one task at a time, whatever is free. Who has room is for Ray's scheduler to say.
    context.op_resource_reservation_enabled = False
    # A pool whose actors are all busy with their one part is to grow.
    context.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0


def _pool(want: Want, parts: int) -> "ActorPoolStrategy":
    """Return a pool of as many actors as there is room for, and more when nodes join."""
    import ray

    here = min(parts, max(1, room(want)))
    sizes = {"min_size": 1, "initial_size": here, "max_size": parts} if scales() else {"size": here}
    # One part in flight each: a second one would wait behind it while others idle.
    return ray.data.ActorPoolStrategy(**sizes, max_tasks_in_flight_per_actor=1)


class _Part:
    """Makes one part; a user's mistake comes back as a row, not as a remote traceback."""

    def __init__(
        self, worker: Worker, parts: Sequence[Place], out: Place, voice: Voice, begun: "Note"
    ) -> None:
        self._worker = worker
        self._parts = parts
        self._out = out
        self._voice = voice
        self._begun = begun

    def __call__(self, row: dict[str, int]) -> dict[str, str]:
        self._voice.adopt()
        self._begun.leave("")
        try:
            make(self._worker, self._parts[row["part"]], self._out)
        except errors.UserError as error:
            return errors.to_data(error)
        return {"kind": "", "message": ""}


class _PartInActor(_Part):
    """The same, with a worker that is built once."""

    def __init__(
        self,
        worker: Callable[..., Worker],
        args: tuple[Any, ...],
        parts: Sequence[Place],
        out: Place,
        voice: Voice,
        begun: "Note",
    ) -> None:
        # At the first part and not here: an error in an actor's constructor kills the actor, and
        # Ray tells of that only.
        built = cache(lambda: worker(*args))
        super().__init__(lambda part, made: built()(part, made), parts, out, voice, begun)
