"""What the tests of readers share: small files, and what is read from them."""

from collections import Counter
from pathlib import Path

from wd.config import CorpusConfig
from wd.data import readers
from wd.data.sources import find_entries

LANGUAGES = ("en", "de")


def read(
    folder: Path, name: str, removed: Counter[str] | None = None, **config: object
) -> list[tuple[str, str, str]]:
    settings = CorpusConfig(dir=str(folder), train=(name,), **config)
    (entry,) = find_entries(settings, LANGUAGES, {})["train"]
    rows = []
    for table in readers.read_entry(entry, settings, Counter() if removed is None else removed):
        rows += [tuple(row.values()) for row in table.to_pylist()]
    return rows


def write_sides(folder: Path, source: bytes, target: bytes) -> None:
    (folder / "train.en").write_bytes(source)
    (folder / "train.de").write_bytes(target)
