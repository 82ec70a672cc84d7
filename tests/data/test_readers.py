import gzip
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wd.config import CorpusConfig
from wd.data import readers
from wd.data.sources import find_entries
from wd.errors import DataError

LANGUAGES = ("en", "de")


def read(folder: Path, name: str, **config: object) -> list[tuple[str, str, str]]:
    settings = CorpusConfig(dir=str(folder), train=(name,), **config)
    (entry,) = find_entries(settings, LANGUAGES, {})["train"]
    rows = []
    for table in readers.read_entry(entry, settings, Counter()):
        rows += [tuple(row.values()) for row in table.to_pylist()]
    return rows


def write_sides(folder: Path, source: bytes, target: bytes) -> None:
    (folder / "train.en").write_bytes(source)
    (folder / "train.de").write_bytes(target)


def test_lines_end_at_line_feeds_only(tmp_path: Path) -> None:
    odd = "a\u2028b\x0cc\x1cd\x85e\r"
    write_sides(tmp_path, f"{odd}\n\nlast".encode(), b"x\ny\nz\n")
    assert read(tmp_path, "train.{lang}") == [
        (odd, "x", "train.{lang}:1"),
        ("", "y", "train.{lang}:2"),
        ("last", "z", "train.{lang}:3"),
    ]


def test_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    write_sides(tmp_path, b"\xef\xbb\xbfone\n", b"eins\n")
    assert read(tmp_path, "train.{lang}")[0][:2] == ("one", "eins")


@pytest.mark.parametrize("chunk", [1, 2, 3, 20_000])
def test_gzipped_beside_the_name_reads_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(readers, "CHUNK", chunk)
    write_sides(tmp_path, b"a\nb\nc\n", b"x\ny\nz\n")
    plain = read(tmp_path, "train.{lang}")
    for path in list(tmp_path.iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert read(tmp_path, "train.{lang}") == plain
    assert len(plain) == 3


@pytest.mark.parametrize("chunk", [2, 20_000])
def test_different_lengths_are_told_with_both_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(readers, "CHUNK", chunk)
    write_sides(tmp_path, b"a\n" * 3, b"b\n" * 8)
    with pytest.raises(DataError, match=r"train\.en has 3 lines, but .*train\.de has 8"):
        read(tmp_path, "train.{lang}")


@pytest.mark.parametrize("chunk", [1, 20_000])
def test_broken_utf8_is_told_with_file_line_and_offset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(readers, "CHUNK", chunk)
    write_sides(tmp_path, b"one\ntwo\nthree\n", "für\n".encode() + b"ab\xff\nc\n")
    with pytest.raises(DataError, match=r"train\.de, line 2: .*byte 0xff at offset 7 "):
        read(tmp_path, "train.{lang}")


def test_missing_file_is_told_with_the_hint(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.en: no such file\. Get it from X") as caught:
        read(tmp_path, "train.{lang}", hint="Get it from X")
    assert str(tmp_path) in str(caught.value)


def test_damaged_gzip(tmp_path: Path) -> None:
    write_sides(tmp_path, b"", b"x\n" * 2000)
    (tmp_path / "train.en").unlink()
    (tmp_path / "train.en.gz").write_bytes(gzip.compress(bytes(range(256)) * 40)[:100])
    with pytest.raises(DataError, match=r"train\.en\.gz: damaged gzip"):
        read(tmp_path, "train.{lang}")
    (tmp_path / "train.en.gz").write_bytes(b"not gzip")
    with pytest.raises(DataError, match="damaged gzip"):
        read(tmp_path, "train.{lang}")


def test_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.doc: unknown format"):
        read(tmp_path, "train.doc")


def test_tsv_by_name_and_by_number(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("id\ttarget\tsource\n1\teins\tone\n2\tzwei\ttwo\r\n")
    assert read(tmp_path, "a.tsv") == [("one", "eins", "a.tsv:2"), ("two", "zwei", "a.tsv:3")]
    by_number = read(tmp_path, "a.tsv", source_column="2", target_column="1")
    assert by_number[0] == ("source", "target", "a.tsv:1")
    assert [row[:2] for row in by_number[1:]] == [("one", "eins"), ("two", "zwei")]


def test_tsv_mistakes(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("source\ttarget\none\teins\ntwo\n")
    with pytest.raises(DataError, match=r"a\.tsv, line 3: 1 tab-separated"):
        read(tmp_path, "a.tsv")
    with pytest.raises(DataError, match="no column 'en'; it has 'source', 'target'"):
        read(tmp_path, "a.tsv", source_column="en")


def test_parquet(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"source": ["one", None], "target": ["eins", "x"]}), tmp_path / "a.parquet"
    )
    assert read(tmp_path, "a.parquet") == [
        ("one", "eins", "a.parquet:1"),
        ("", "x", "a.parquet:2"),
    ]
    with pytest.raises(DataError, match="no column 'de'"):
        read(tmp_path, "a.parquet", target_column="de")
    (tmp_path / "a.parquet").write_text("no")
    with pytest.raises(DataError, match="not a Parquet file"):
        read(tmp_path, "a.parquet")
    pq.write_table(pa.table({"source": [[1]], "target": ["eins"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="not a Parquet file of text"):
        read(tmp_path, "a.parquet")
