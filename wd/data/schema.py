"""The columns of every Parquet file that a stage hands to the next, and the special token ids."""

from os import PathLike
from pathlib import Path

import pyarrow as pa

PAD, UNK, BOS, EOS = range(4)
PARTS = "part-*.parquet"

CORPUS = pa.schema(
    {"id": pa.string(), "source": pa.string(), "target": pa.string(), "origin": pa.string()}
)
"""Sentence pairs. `id` is a hash of the pair, `origin` the file and line that it came from."""

PSEUDO = pa.schema(
    {
        "id": pa.string(),
        "hypothesis": pa.string(),
        "score": pa.float32(),
        "fault": pa.string(),
        "kept": pa.bool_(),
    }
)
"""The teacher's translations, row for row with the corpus part of the same name. `fault` says what
is wrong with one, null if nothing is; students are trained on what is `kept`."""

_SENTENCES = pa.list_(pa.list_(pa.int32()))
SHARD = pa.schema({"source": _SENTENCES, "target": _SENTENCES, "tokens": pa.int32()})
"""One row is one batch: piece ids, each sequence ending in EOS; `tokens` counts the target's."""


def part_name(index: int) -> str:
    """Return the name of a part file; names sort in the order of their indices."""
    return f"part-{index:05d}.parquet"


def part_files(folder: PathLike[str]) -> list[Path]:
    """Return the part files of a folder in order; none if the folder does not exist."""
    return sorted(Path(folder).glob(PARTS))
