from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from wd.data.batches import ShardReader, batches_of
from wd.data.schema import BOS, EOS, PAD, SHARD, part_name
from wd.errors import ArtifactError, DataError


def write(folder: Path, part: int, batches: list[list[list[int]]]) -> None:
    folder.mkdir(exist_ok=True)
    table = pa.table(
        {
            "source": batches,
            "target": batches,
            "tokens": [sum(len(ids) for ids in batch) for batch in batches],
        },
        schema=SHARD,
    )
    pq.write_table(table, folder / part_name(part), row_group_size=3)


@pytest.fixture
def reader(tmp_path: Path) -> ShardReader:
    """23 batches in three parts of two folders; batch n holds the piece n + 4 and EOS."""
    batches = [[[number + 4, EOS], [number + 4, 9, EOS]] for number in range(23)]
    write(tmp_path / "one", 0, batches[:10])
    write(tmp_path / "one", 1, batches[10:11])
    write(tmp_path / "two", 0, batches[11:])
    return ShardReader([tmp_path / "one", tmp_path / "two"])


def test_a_batch_is_padded_and_shifted(reader: ShardReader) -> None:
    for number in range(len(reader)):
        batch, first = reader[number], number + 4
        assert batch.source_BS.tolist() == [[first, EOS, PAD], [first, 9, EOS]]
        assert batch.target_BT.tolist() == [[first, EOS, PAD], [first, 9, EOS]]
        assert batch.target_in_BT.tolist() == [[BOS, first, EOS], [BOS, first, 9]]
        assert batch.source_BS.dtype == torch.int64
    assert reader.tokens.tolist() == [5] * 23


def test_an_epoch_takes_every_batch_once_in_an_order_of_its_own(reader: ShardReader) -> None:
    taken = [index for update in range(23) for index in reader.step(update, 2, seed=1)]
    first, second = taken[:23], taken[23:]
    assert sorted(first) == sorted(second) == list(range(23))
    assert first != second
    assert taken[:2] != reader.step(0, 2, seed=2)


def test_the_order_does_not_depend_on_where_a_run_starts(
    reader: ShardReader, tmp_path: Path
) -> None:
    fresh = ShardReader([tmp_path / "one", tmp_path / "two"])
    assert fresh.step(17, 4, seed=1) == reader.step(17, 4, seed=1)


def test_nothing_to_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no batches in"):
        ShardReader([tmp_path])


def test_a_damaged_part_is_told(reader: ShardReader, tmp_path: Path) -> None:
    part = tmp_path / "one" / part_name(0)
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(ArtifactError, match="not a whole Parquet file"):
        ShardReader([tmp_path / "one"])


def test_a_part_whose_bytes_have_changed_is_told(reader: ShardReader, tmp_path: Path) -> None:
    part = tmp_path / "one" / part_name(0)
    content = bytearray(part.read_bytes())
    content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)  # its data, not its footer
    part.write_bytes(content)
    with pytest.raises(ArtifactError, match="not a whole Parquet file"):
        list(batches_of(part))
