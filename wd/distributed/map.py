"""Ray Data over part files: each task or actor reads one part and writes one of the same name."""

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from wd import errors
from wd.config import RayConfig
from wd.distributed.accelerator import gpu_on_cluster, gpu_share
from wd.distributed.resources import Want, await_room, room, scales, watched
from wd.distributed.runtime import ensure_ray

if TYPE_CHECKING:
    from ray.data import ActorPoolStrategy

Stats = dict[str, Any]
Worker = Callable[[Path, Path], Stats]


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
    and calls that (with its share of a GPU, if GPUs are used). Only `worker` opens the parts, so a
    part may also be a mere name for some work.

    A part appears in `out` when it is complete, its statistics in a hidden file beside it;
    parts that are there already are not made again, so a killed job goes on where it was.
    `out` must be visible from every machine of the cluster. Raises the worker's UserError, and
    ClusterError if the cluster has no room and will have none.
    """
    out = out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    todo = [part.absolute() for part in parts if not _is_done(out / part.name)]
    if todo:
        _run(worker, todo, out, config, actor_args)
    return [json.loads(_stats_file(out / part.name).read_text("utf-8")) for part in parts]


def _run(
    worker: Worker | Callable[..., Worker],
    todo: Sequence[Path],
    out: Path,
    config: RayConfig,
    actor_args: tuple[Any, ...] | None,
) -> None:
    ensure_ray(config)
    import ray

    context = ray.data.DataContext.get_current()
    context.execution_no_progress_timeout_s = -1  # a part may take hours, and so may a node to come
    # A pool whose actors are all busy with their one part is to grow.
    context.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0
    rows = ray.data.from_items(
        [{"part": str(part)} for part in todo], override_num_blocks=len(todo)
    )
    if actor_args is None:
        want = Want(config.map_cpus, 0.0, "ray.map_cpus")
        results = rows.map(_Part(cast(Worker, worker), out), num_cpus=want.cpus)
    else:
        gpus = gpu_share(config, gpu_on_cluster(config))
        want = Want(config.map_cpus, gpus, "ray.map_cpus")
        results = rows.map(
            _PartInActor,
            fn_constructor_args=(worker, actor_args, out),
            compute=_pool(want, len(todo)),
            num_cpus=want.cpus,
            num_gpus=want.gpus or None,
        )
    who = f"making {out.parent.name}/{out.name}"
    await_room(want, who)
    before = set(out.iterdir())
    with watched(want, who, lambda: set(out.iterdir()) != before):
        outcome = results.take_all()
    for part in todo:  # what killed attempts left behind
        for leftover in out.glob(f".{part.name}.*.partial"):
            shutil.rmtree(leftover, ignore_errors=True)
    for failed in (row for row in outcome if row["kind"]):
        raise errors.from_data(failed)


def _pool(want: Want, parts: int) -> "ActorPoolStrategy":
    """Return a pool of as many actors as there is room for, and more when nodes join."""
    import ray

    here = min(parts, max(1, room(want)))
    sizes = {"min_size": 1, "initial_size": here, "max_size": parts} if scales() else {"size": here}
    # One part in flight each: a second one would wait behind it while others idle.
    return ray.data.ActorPoolStrategy(**sizes, max_tasks_in_flight_per_actor=1)


class _Part:
    """Makes one part; a user's mistake comes back as a row, not as a remote traceback."""

    def __init__(self, worker: Worker, out: Path) -> None:
        self._worker = worker
        self._out = out

    def __call__(self, row: dict[str, str]) -> dict[str, str]:
        part = Path(row["part"])
        try:
            _make(self._worker, part, self._out / part.name)
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


def _make(worker: Worker, part: Path, final: Path) -> None:
    """Let the worker write into a folder of its own, so that two attempts never meet."""
    with tempfile.TemporaryDirectory(
        dir=final.parent, prefix=f".{final.name}.", suffix=".partial"
    ) as folder:
        made = Path(folder, final.name)
        stats = Path(folder, "stats")
        stats.write_text(json.dumps(worker(part, made)), "utf-8")
        stats.replace(_stats_file(final))
        made.replace(final)


def _stats_file(part: Path) -> Path:
    return part.with_name(f".{part.name}.json")


def _is_done(part: Path) -> bool:
    return part.is_file() and _stats_file(part).is_file()
