import gzip
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.reading import read, write_sides
from wd.data import lines, readers
from wd.errors import DataError


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


def test_lines_that_end_in_carriage_returns_alone(tmp_path: Path) -> None:
    write_sides(tmp_path, b"one\rtwo\r", b"eins\nzwei\n")
    with pytest.raises(DataError, match=r"train\.en: its lines end in carriage returns alone"):
        read(tmp_path, "train.{lang}")
    write_sides(tmp_path, b"one\r", b"eins")
    assert [row[:2] for row in read(tmp_path, "train.{lang}")] == [("one\r", "eins")]


def test_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST", 1 << 20)
    write_sides(tmp_path, b"a\n" + b"x" * (1 << 21), b"a\nb\n")
    (tmp_path / "train.en").rename(tmp_path / "plain")
    (tmp_path / "train.en.gz").write_bytes(gzip.compress((tmp_path / "plain").read_bytes()))
    with pytest.raises(DataError, match=r"train\.en\.gz, line 2: 1 MiB or more without"):
        read(tmp_path, "train.{lang}")


@pytest.mark.parametrize("chunk", [1, 2, 20_000])
def test_byte_order_marks_between_lines_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(readers, "CHUNK", chunk)
    mark = b"\xef\xbb\xbf"
    source = mark + b"one\n" + mark + b"two\nth" + mark + b"ree\n"
    write_sides(tmp_path, source, b"1\n2\n3\n")
    expected = ["one", "two", "th\ufeffree"]
    assert [row[0] for row in read(tmp_path, "train.{lang}")] == expected
    columns = b"".join(line + b"\tx\n" for line in source.splitlines())
    (tmp_path / "a.tsv").write_bytes(columns)
    rows = read(tmp_path, "a.tsv", source_column=0, target_column=1)
    assert [row[0] for row in rows] == expected


@pytest.mark.parametrize("chunk", [1, 2, 20_000])
def test_all_broken_lines_are_told_or_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(readers, "CHUNK", chunk)
    write_sides(tmp_path, b"one\nt\0wo\nthree\nfour\nfive\n", b"1\n2\n\xff\n4\n\xff5\n")
    with pytest.raises(DataError) as caught:
        read(tmp_path, "train.{lang}")
    assert str(caught.value) == (
        f"{tmp_path}/train.en, line 2: a NUL character (UTF-16 is not read); in all 3 of 5 are "
        "broken: 2, 3, 5; mend this, or corpus.skip_broken_rows: true leaves it out"
    )
    removed: Counter[str] = Counter()
    assert read(tmp_path, "train.{lang}", removed, skip_broken_rows=True) == [
        ("one", "1", "train.{lang}:1"),
        ("four", "4", "train.{lang}:4"),
    ]
    assert removed == {"broken": 3}
    (tmp_path / "train.de").write_bytes(b"1\n" * 4)
    with pytest.raises(DataError, match=r"has 5 lines, but .* has 4"):
        read(tmp_path, "train.{lang}", skip_broken_rows=True)


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


@pytest.mark.parametrize("chunk", [1, 2, 20_000])
@pytest.mark.parametrize("header", ["source\ttarget\tnote\n", ""])
def test_tsv_rows_of_another_width_are_all_told_or_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, header: str
) -> None:
    monkeypatch.setattr(readers, "CHUNK", chunk)
    rows = [
        "one\teins\t",
        "two\t\tzwei\tx",
        "three\tdrei\tx",
        "four",
        "five\tf\tx\t",
        "\ts\tsechs\tx",
    ]
    (tmp_path / "a.tsv").write_text(header + "\n".join(rows) + "\n")
    by_number = {} if header else {"source_column": "0", "target_column": "1"}
    first = 3 if header else 2
    with pytest.raises(DataError) as caught:
        read(tmp_path, "a.tsv", **by_number)
    assert f"a.tsv, line {first}: 4 tab-separated columns, not 3;" in str(caught.value)
    assert f"in all 3 of 6 are broken: {first}, {first + 2}, {first + 4};" in str(caught.value)
    removed: Counter[str] = Counter()
    assert read(tmp_path, "a.tsv", removed, skip_broken_rows=True, **by_number) == [
        ("one", "eins", f"a.tsv:{first - 1}"),
        ("three", "drei", f"a.tsv:{first + 1}"),
        ("five", "f", f"a.tsv:{first + 3}"),
    ]
    assert removed == {"broken": 3}


def test_many_broken_rows_are_told_by_their_first_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("source\ttarget\n" + "x\n" * 12)
    with pytest.raises(DataError, match=r"in all 12 of 12 are broken: 2, 3, .*, 11, \.\.\.;"):
        read(tmp_path, "a.tsv")


def test_tsv_header_may_end_in_unnamed_columns(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("source\ttarget\t\none\teins\ntwo\tzwei\tnote\n")
    assert [row[:2] for row in read(tmp_path, "a.tsv")] == [("one", "eins"), ("two", "zwei")]


@pytest.mark.parametrize("column", ["²", "٣", "9" * 5000])
def test_column_that_is_no_number_is_a_name(tmp_path: Path, column: str) -> None:
    (tmp_path / "a.tsv").write_text("source\ttarget\none\teins\n")
    with pytest.raises(DataError, match=f"no column '{column}'; it has 'source', 'target'"):
        read(tmp_path, "a.tsv", source_column=column, target_column=column)


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("source\ttarget\ttarget\none\teins\tuno\n")
    columns = [pa.array([text]) for text in ("one", "eins", "uno")]
    table = pa.table(columns, names=["source", "target", "target"])
    pq.write_table(table, tmp_path / "a.parquet")
    for name in ("a.tsv", "a.parquet"):
        with pytest.raises(DataError, match=rf"{name}: 2 columns are named 'target': rename"):
            read(tmp_path, name)


def test_nul_in_parquet(tmp_path: Path) -> None:
    table = pa.table({"source": ["one", "two", "thr\0ee"], "target": ["\0", "zwei", "drei"]})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet, row 1: a NUL .*in all 2 of 3 .*: 1, 3;"):
        read(tmp_path, "a.parquet")
    removed: Counter[str] = Counter()
    kept = read(tmp_path, "a.parquet", removed, skip_broken_rows=True)
    assert kept == [("two", "zwei", "a.parquet:2")]
    assert removed == {"broken": 2}


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
