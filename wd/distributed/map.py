"""Ray Data over part files: each task or actor reads one part and writes one of the same name."""

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

from wd import errors
from wd.config import RayConfig
from wd.distributed.runtime import ensure_ray, room

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
    and calls that (on a GPU of its own if `config.gpu`). Only `worker` opens the parts, so a
    part may also be a mere name for some work.

    A part appears in `out` when it is complete, its statistics in a hidden file beside it;
    parts that are there already are not made again, so a killed job goes on where it was.
    `out` must be visible from every machine of the cluster. Raises the worker's UserError.
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
    outcome = results.take_all()
    for part in todo:  # what killed attempts left behind
        for leftover in out.glob(f".{part.name}.*.partial"):
            shutil.rmtree(leftover, ignore_errors=True)
    for failed in (row for row in outcome if row["kind"]):
        raise errors.from_data(failed)


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
