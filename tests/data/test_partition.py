"""Scatter and Gather, called in this process: the invariants of the corpus."""

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wd.config import FilterConfig
from wd.data.partition import Gather, Scatter
from wd.data.readers import RAW
from wd.data.schema import CORPUS, part_name
from wd.data.split import Partition, pair_id, source_key

PARTITION = Partition(0.15, 0.15, {"train": 3, "valid": 1, "test": 2})
FILTERS = FilterConfig(max_words=6)


def raw_pairs(count: int, seed: int = 1) -> list[tuple[str, str, str]]:
    """Many repetitions, some empty, long and identical."""
    draw = random.Random(seed)
    pairs = []
    for line in range(count):
        number = draw.randrange(count // 3)
        source = draw.choice((f"say {number}", f"Say  {number}!", f"say {number} " * 4, ""))
        target = draw.choice((f"sag {number}", f"sprich {number}", source))
        pairs.append((source, target, f"raw:{line}"))
    return pairs


def run(folder: Path, pairs: list[tuple[str, str, str]], held_out: set[int]) -> Counter[str]:
    """Write the parts to `folder`; return what was removed."""
    folder.mkdir()
    (folder / "scattered").mkdir()
    np.save(folder / "held.npy", np.array(sorted(held_out), np.uint64))
    removed: Counter[str] = Counter()
    scatter = Scatter(FILTERS, PARTITION, folder / "held.npy")
    scattered = []
    for index, start in enumerate(range(0, len(pairs), 100)):
        raw = folder / f"raw-{index}"
        columns = list(map(list, zip(*pairs[start : start + 100], strict=True)))
        pq.write_table(pa.table(columns, schema=RAW), raw)
        scattered.append(folder / "scattered" / part_name(index))
        removed.update(scatter(raw, scattered[-1])["removed"])
    gather = Gather(folder / "scattered", [part.name for part in scattered], PARTITION, FILTERS)
    for name in PARTITION.names:
        stats = gather(Path(name), folder / name)
        removed.update(stats["removed"])
        assert stats["kept"] == pq.read_metadata(folder / name).num_rows
    return removed


def rows(folder: Path, split: str) -> list[dict[str, str]]:
    parts = sorted(folder.glob(f"{split}-*"))
    return [row for part in parts for row in pq.read_table(part).to_pylist()]


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, list[tuple[str, str, str]], Counter[str]]:
    pairs = raw_pairs(1000)
    folder = tmp_path / "made"
    return folder, pairs, run(folder, pairs, {source_key("say 7")})


def test_every_pair_is_accounted_for(
    made: tuple[Path, list[tuple[str, str, str]], Counter[str]],
) -> None:
    folder, pairs, removed = made
    kept = [row for split in ("train", "valid", "test") for row in rows(folder, split)]
    assert len(kept) + removed.total() == len(pairs)
    assert set(removed) == {
        *("empty", "identical", "long", "held_out", "duplicate", "repeated_source")
    }
    origins = {origin: (source, target) for source, target, origin in pairs}
    for row in kept:
        source, target = origins[row["origin"]]
        assert (row["source"], row["target"]) == (" ".join(source.split()), target)
        assert row["id"] == pair_id(row["source"], row["target"])


def test_no_source_stands_in_two_splits_or_is_held_out(
    made: tuple[Path, list[tuple[str, str, str]], Counter[str]],
) -> None:
    folder, _, _ = made
    keys = {
        split: [source_key(row["source"]) for row in rows(folder, split)]
        for split in ("train", "valid", "test")
    }
    assert all(keys.values())
    assert not set(keys["train"]) & set(keys["valid"])
    assert not set(keys["train"]) & set(keys["test"])
    assert not set(keys["valid"]) & set(keys["test"])
    assert source_key("say 7") not in {key for split in keys.values() for key in split}
    for split in ("valid", "test"):
        assert len(set(keys[split])) == len(keys[split])
    assert len(set(keys["train"])) < len(keys["train"])  # several translations may be learned


def test_each_pair_once_its_first_origin_stays(
    made: tuple[Path, list[tuple[str, str, str]], Counter[str]],
) -> None:
    folder, pairs, _ = made
    train = rows(folder, "train")
    assert len({row["id"] for row in train}) == len(train)
    first: dict[str, str] = {}
    for source, target, origin in pairs:
        first.setdefault(pair_id(" ".join(source.split()), target), origin)
    assert all(row["origin"] == first[row["id"]] for row in train)


def test_repetition_is_byte_identical(tmp_path: Path) -> None:
    pairs = raw_pairs(500)
    for name in ("one", "two"):
        run(tmp_path / name, pairs, set())
    for name in PARTITION.names:
        one, two = ((tmp_path / run_name / name).read_bytes() for run_name in ("one", "two"))
        assert one == two
        assert pq.read_schema(tmp_path / "one" / name).equals(CORPUS)


def test_duplicates_stay_if_asked(tmp_path: Path) -> None:
    np.save(tmp_path / "held.npy", np.array([], np.uint64))
    raw = pa.table([["a b", "a b"], ["c d", "c d"], ["x:1", "x:2"]], schema=RAW)
    pq.write_table(raw, tmp_path / "raw")
    filters = FilterConfig(drop_duplicates=False)
    partition = Partition(0.0, 0.0, {"train": 1})
    Scatter(filters, partition, tmp_path / "held.npy")(tmp_path / "raw", tmp_path / "scattered")
    stats = Gather(tmp_path, ["scattered"], partition, filters)(
        Path("train-00000"), tmp_path / "out"
    )
    assert stats == {"removed": {}, "kept": 2}
