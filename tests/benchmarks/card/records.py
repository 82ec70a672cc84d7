"""What is measured on a card: a line of JSON for each figure, which stays whatever comes after."""

import gc
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipelines.commands.recipe_arguments import read_recipe
from wd.config import Recipe, overridden

FILE, BEGUN = "results.jsonl", "begun"
TOY = {
    **{f"teacher.shape.{stack}.layers": 2 for stack in ("encoder", "decoder")},
    **{f"teacher.shape.{stack}.d_model": 32 for stack in ("encoder", "decoder")},
    **{f"teacher.shape.{stack}.heads": 2 for stack in ("encoder", "decoder")},
    **{f"teacher.shape.{stack}.feed_forward": 64 for stack in ("encoder", "decoder")},
    "tokenizer.vocabulary_size": 400,
    "shards.batch_tokens": 256,
    "students": {
        "tiny": {"decoder": {"layers": 1, "d_model": 16, "heads": 2, "feed_forward": 32}},
        "small": {"decoder": {"layers": 1}},
    },
}
"""Makes any of the recipes small."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What all parts are told."""

    out: Path
    """Folder of the results."""
    data: Path | None
    """Folder that was prepared for the ladder."""
    device: str
    toy: bool
    """Toy sizes: to see that all works, not how fast."""
    compiled: bool
    """Whether also compiled models are timed."""

    def recipe(self, name: str, **changes: Any) -> Recipe:
        """Return a shipped recipe, at toy sizes if asked."""
        return overridden(read_recipe(name), (TOY if self.toy else {}) | changes)


class Records:
    """Writes what one part finds."""

    def __init__(self, out: Path, part: str, until: float) -> None:
        self._file, self._part, self._until = out / FILE, part, until

    def left(self) -> float:
        """Return the seconds that this part may still take."""
        return self._until - time.time()

    def add(self, what: str, **figures: Any) -> None:
        """Append a line."""
        line = json.dumps({"part": self._part, "what": what, **figures})
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(f"{line}\n")
        print(line, flush=True)

    def measure(
        self, what: str, seconds: float, function: Callable[[], Mapping[str, Any]]
    ) -> Mapping[str, Any]:
        """Record a function's figures, or that there is no time for it, or that it failed.

        `seconds` is about what it takes. Returns the figures, none if there are none.
        """
        figures: Mapping[str, Any] = {}
        began = time.time()
        if seconds > self.left():
            self.add(what, skipped=f"takes about {seconds:.0f} s, {max(0, self.left()):.0f} left")
            return figures
        try:
            figures = function()
        except Exception as error:  # whatever it is, the other figures are wanted
            traceback.print_exc()
            self.add(what, failed=described(error))
        else:
            self.add(what, **figures, took=round(time.time() - began, 1))
        free()
        return figures


def described(error: BaseException) -> str:
    """Return an error's class and first line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


def free() -> None:
    """Give back the memory of what is not used any more."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def read(out: Path) -> list[dict[str, Any]]:
    """Return what is recorded in a folder: of a part that ran again, its last run."""
    file = out / FILE
    lines = file.read_text("utf-8").splitlines() if file.is_file() else []
    found: dict[str, list[dict[str, Any]]] = {}
    for row in map(json.loads, lines):
        if row["what"] == BEGUN:
            found[row["part"]] = []
        else:
            found.setdefault(row["part"], []).append(row)
    return [row for rows in found.values() for row in rows]


def synchronize(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def called(command: Sequence[str], seconds: float, **environment: str) -> str:
    """Run a command of Python's for so long at most; return its standard output.

    Raises RuntimeError with the end of its standard error if it fails, TimeoutExpired.
    """
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, *command],
        cwd=root,
        env={**os.environ, "PYTHONPATH": root, **environment},
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    print(done.stderr, file=sys.stderr, flush=True)
    if done.returncode:
        end = done.stderr.strip().splitlines()[-1:] or done.stdout.strip().splitlines()[-1:]
        raise RuntimeError(f"exit status {done.returncode}: {''.join(end)}")
    return done.stdout
