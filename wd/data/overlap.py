"""Which sentences of test sets stand in the text that was trained on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wd.data.parts import read_part
from wd.data.split import keys_of
from wd.places import Place


@dataclass(frozen=True)
class Overlap:
    """Worker: a part of training text in; only what it tells of it counts."""

    asked: Place
    """NumPy file with source keys (uint64)."""

    def __call__(self, part_in: Path, part_out: Path) -> dict[str, Any]:
        """Return the keys, of those that are asked for, that it has."""
        sources = read_part(part_in, ["source"])["source"].to_pylist()
        found = np.intersect1d(np.load(Path(self.asked)), keys_of(sources))
        part_out.touch()
        return {"found": found.tolist()}
