"""Small files that somebody else may have written: what they claim to be is not believed."""

import json
import stat
from pathlib import Path
from typing import Any

MOST_BYTES = 1_000_000
_DEEPEST = 50


def read_small(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return a file's bytes.

    Raises ValueError if it is no regular file (a device may have no end) or has more than `most`
    bytes; FileNotFoundError or NotADirectoryError if there is none.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("not a regular file")
    with path.open("rb") as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise ValueError(f"more than {most:,} bytes")
    return content


def parse_json(content: bytes) -> Any:
    """Return JSON as plain data; raises ValueError, also if it is nested too deeply."""
    try:
        tree = json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    level = [tree]
    for _ in range(_DEEPEST):
        level = [below for each in level for below in _below(each)]
    if level:
        raise ValueError("nested too deeply")
    return tree


def _below(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
