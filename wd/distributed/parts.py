"""One part file of a map: made whole or not at all, its statistics beside it."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Stats = dict[str, Any]
Worker = Callable[[Path, Path], Stats]


def make(worker: Worker, part: Path, final: Path) -> None:
    """Let the worker write into a folder of its own, so that two attempts never meet."""
    with tempfile.TemporaryDirectory(
        dir=final.parent, prefix=f".{final.name}.", suffix=".partial"
    ) as folder:
        made = Path(folder, final.name)
        stats = Path(folder, "stats")
        stats.write_text(json.dumps(worker(part, made)), "utf-8")
        stats.replace(_stats_file(final))
        made.replace(final)


def is_done(part: Path) -> bool:
    """Tell whether a part is there with its statistics."""
    return part.is_file() and _stats_file(part).is_file()


def stats_of(part: Path) -> Stats:
    """Return what the worker told of a finished part."""
    return dict(json.loads(_stats_file(part).read_text("utf-8")))


def remove_leftovers(parts: Iterable[Path]) -> None:
    """Remove what killed attempts at some finished parts left behind."""
    for part in parts:
        for leftover in part.parent.glob(f".{part.name}.*.partial"):
            shutil.rmtree(leftover, ignore_errors=True)


def _stats_file(part: Path) -> Path:
    return part.with_name(f".{part.name}.json")
