"""One part file of a map: made whole or not at all, its statistics beside it."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from wd.errors import ArtifactError
from wd.places import Place, unseen
from wd.store import objects
from wd.store.shelf import describe, here, names, pull, push

Stats = dict[str, Any]
Worker = Callable[[Path, Path], Stats]


def make(worker: Worker, part: Place, out: Place) -> None:
    """Let the worker make one part, which appears in the folder `out` when it is complete.

    It writes into a folder of its own, so that two attempts never meet.
    """
    final, stats = out / part.name, out / _stats_name(part)
    folder = here(final).parent
    if not folder.is_dir():
        raise ArtifactError(unseen(folder))
    with tempfile.TemporaryDirectory(
        dir=folder, prefix=f".{part.name}.", suffix=".partial"
    ) as partial:
        made = Path(partial, part.name)
        told = Path(partial, "stats")
        told.write_text(json.dumps(worker(Path(part), made)), "utf-8")
        told.replace(here(stats))
        made.replace(here(final))
    push(final)
    describe(final)
    push(stats)


def undone(parts: Iterable[Place], out: Place) -> list[Place]:
    """Return the parts that are not in a folder yet, or not with their statistics."""
    there = set(names(out))
    return [part for part in parts if not {part.name, _stats_name(part)} <= there]


def stats_of(parts: Iterable[Place], out: Place) -> list[Stats]:
    """Return what the worker told of finished parts, in their order."""

    def read(part: Place) -> Stats:
        return dict(json.loads(pull(out / _stats_name(part)).read_text("utf-8")))

    return objects.each(read, parts)


def remove_leftovers(parts: Iterable[Place], out: Place) -> None:
    """Remove what killed attempts at some finished parts left behind on this node."""
    made = {part.name for part in parts}
    for leftover in here(out).glob(".*.partial"):
        if leftover.name[1:].rsplit(".", 2)[0] in made:
            shutil.rmtree(leftover, ignore_errors=True)


def _stats_name(part: Place) -> str:
    return f".{part.name}.json"
