from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from wd.config import ShardsConfig
from wd.data.schema import EOS, SHARD
from wd.data.shards import pack, write_training_shard, write_validation_shard
from wd.data.tokenizer import Tokenizer

CONFIG = ShardsConfig(batch_tokens=240, max_length=60)


@pytest.fixture
def tokenizer(tokenizer_folder: Path) -> Tokenizer:
    return Tokenizer.load(tokenizer_folder)


@pytest.fixture
def pairs(sentences: list[str]) -> tuple[list[str], list[str]]:
    """Of many lengths; two over-long, one with an empty target."""
    sources = [" ".join(sentences[: index % 3 + 1]) for index in range(len(sentences))]
    targets = [sentences[index][: 1 + index % 20] for index in range(len(sentences))]
    over_long = " ".join(sentences[:9])
    return [over_long, "a", "a", *sources], ["a", over_long, "", *targets]


def batches(path: Path) -> list[dict[str, list[list[int]]]]:
    assert pq.read_schema(path).equals(SHARD)
    rows: list[dict[str, list[list[int]]]] = pq.read_table(path).to_pylist()
    return rows


def flat(rows: list[dict[str, list[list[int]]]]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return sorted(
        (tuple(source), tuple(target))
        for row in rows
        for source, target in zip(row["source"], row["target"], strict=True)
    )


def test_training_shard_holds_exactly_the_pairs_that_fit(
    tmp_path: Path, tokenizer: Tokenizer, pairs: tuple[list[str], list[str]]
) -> None:
    counts = write_training_shard(*pairs, tokenizer, CONFIG, tmp_path / "part")
    rows = batches(tmp_path / "part")
    encoded = zip(tokenizer.encode_source(pairs[0]), tokenizer.encode_target(pairs[1]), strict=True)
    fitting = [
        (tuple(source), tuple(target))
        for source, target in encoded
        if max(len(source), len(target)) <= 60 and len(target) > 1
    ]
    assert flat(rows) == sorted(fitting)
    assert counts["pairs"] + counts["over_long"] + counts["empty"] == len(pairs[0])
    assert counts["empty"] == 1
    assert counts["over_long"] == 2
    assert counts["batches"] == len(rows)
    assert counts["target_tokens"] == sum(row["tokens"] for row in rows)  # type: ignore[misc]


def test_every_batch_respects_the_budget_and_has_its_token_count(
    tmp_path: Path, tokenizer: Tokenizer, pairs: tuple[list[str], list[str]]
) -> None:
    write_training_shard(*pairs, tokenizer, CONFIG, tmp_path / "part")
    for row in batches(tmp_path / "part"):
        sequences = row["source"] + row["target"]
        assert len(row["source"]) * max(map(len, sequences)) <= CONFIG.batch_tokens
        assert row["tokens"] == sum(map(len, row["target"]))
        assert all(ids[-1] == EOS for ids in sequences)


def test_order_depends_on_the_name_only_and_is_not_sorted(
    tmp_path: Path, tokenizer: Tokenizer, pairs: tuple[list[str], list[str]]
) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        for name in ("part-00000", "part-00001"):
            write_training_shard(*pairs, tokenizer, CONFIG, tmp_path / folder / name)
    bytes_of = {path: path.read_bytes() for path in tmp_path.glob("*/*")}
    assert bytes_of[tmp_path / "one/part-00000"] == bytes_of[tmp_path / "two/part-00000"]
    assert bytes_of[tmp_path / "one/part-00000"] != bytes_of[tmp_path / "one/part-00001"]
    longest = [max(map(len, row["source"])) for row in batches(tmp_path / "one/part-00000")]
    assert longest != sorted(longest)


def test_validation_shard_cuts_instead_of_dropping(
    tmp_path: Path, tokenizer: Tokenizer, pairs: tuple[list[str], list[str]]
) -> None:
    counts = write_validation_shard(*pairs, tokenizer, CONFIG, tmp_path / "part")
    rows = batches(tmp_path / "part")
    assert counts["pairs"] == len(pairs[0]) == len(flat(rows))
    assert counts["truncated"] == 2
    lengths = [len(ids) for row in rows for ids in row["source"] + row["target"]]
    assert max(lengths) == CONFIG.max_length
    assert all(ids[-1] == EOS for row in rows for ids in row["source"] + row["target"])


def test_budget_below_the_length_limit_wins(
    tmp_path: Path, tokenizer: Tokenizer, pairs: tuple[list[str], list[str]]
) -> None:
    config = ShardsConfig(batch_tokens=10, max_length=250)
    write_training_shard(*pairs, tokenizer, config, tmp_path / "part")
    for row in batches(tmp_path / "part"):
        assert len(row["source"]) * max(map(len, row["source"] + row["target"])) <= 10


def test_unknown_characters_are_counted(tmp_path: Path, tokenizer: Tokenizer) -> None:
    sources, targets = ["Der Ж Hund ЖЖ", "Katze", ""], ["Das Haus", "漢 Baum", "Ж"]
    for write in (write_training_shard, write_validation_shard):
        counts = write(sources, targets, tokenizer, CONFIG, tmp_path / "part")
        # A run of unknown characters is one piece.
        assert (counts["source_unknown"], counts["target_unknown"]) == (2, 2)


def test_nothing_to_pack(tmp_path: Path, tokenizer: Tokenizer) -> None:
    assert write_training_shard([], [], tokenizer, CONFIG, tmp_path / "part")["batches"] == 0
    assert batches(tmp_path / "part") == []


def test_packing_is_greedy_and_complete() -> None:
    lengths = np.array([1, 1, 2, 3, 3, 7, 9])
    found = pack(lengths, 9)
    assert all((stop - start) * lengths[stop - 1] <= 9 for start, stop in found)
    assert [index for start, stop in found for index in range(start, stop)] == list(range(7))
    for start, stop in found[:-1]:
        assert (stop + 1 - start) * lengths[stop] > 9  # not one more would have fitted
