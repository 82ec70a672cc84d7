import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from tests.data.reading import read, write_sides
from wd.data import readers
from wd.errors import DataError

PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
}


@pytest.mark.parametrize("ending", [*PACK, ".XZ"])
@pytest.mark.parametrize("chunk", [1, 2, 3, 20_000])
def test_compressed_reads_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, ending: str
) -> None:
    monkeypatch.setattr(readers, "CHUNK", chunk)
    write_sides(tmp_path, b"a\nb\nc\n", b"x\ny\nz\n")
    plain = read(tmp_path, "train.{lang}")
    for path in list(tmp_path.iterdir()):
        # In two pieces, as files are that were compressed apart and put together.
        first, rest = path.read_bytes()[:3], path.read_bytes()[3:]
        pack = PACK[ending.lower()]
        path.with_name(f"{path.name}{ending}").write_bytes(pack(first) + pack(rest))
        path.unlink()
    if ending in PACK:
        assert read(tmp_path, "train.{lang}") == plain  # found beside the name
    named = read(tmp_path, f"train.{{lang}}{ending}")
    assert [row[:2] for row in named] == [row[:2] for row in plain]
    assert len(plain) == 3


@pytest.mark.parametrize("ending", PACK)
def test_compressed_tsv(tmp_path: Path, ending: str) -> None:
    packed = PACK[ending](b"source\ttarget\none\teins\n")
    (tmp_path / f"a.tsv{ending}").write_bytes(packed)
    name = f"a.tsv{ending}"
    assert read(tmp_path, name) == [("one", "eins", f"{name}:2")]
    assert read(tmp_path, "a.tsv") == [("one", "eins", "a.tsv:2")]


@pytest.mark.parametrize("ending", PACK)
def test_damaged_compressed_file(tmp_path: Path, ending: str) -> None:
    write_sides(tmp_path, b"", b"x\n" * 2000)
    (tmp_path / "train.en").unlink()
    damaged = tmp_path / f"train.en{ending}"
    damaged.write_bytes(PACK[ending](bytes(range(256)) * 40)[:100])
    with pytest.raises(DataError, match=rf"train\.en\{ending}: damaged \w+ file: .*fetch it again"):
        read(tmp_path, "train.{lang}")
    damaged.write_bytes(b"not compressed")
    with pytest.raises(DataError, match=r": damaged \w+ file: .*fetch it again"):
        read(tmp_path, "train.{lang}")
    other = ".gz" if ending == ".xz" else ".xz"
    damaged.write_bytes(PACK[other](b"x\n" * 2000))
    with pytest.raises(DataError, match=f"it holds .* data: name it {other}"):
        read(tmp_path, "train.{lang}")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        *((pack(b"x\n" * 3), f"data: name it {ending}") for ending, pack in PACK.items()),
        (b"PK\x03\x04\x14\0\0\0", "a zip archive: unpack it"),
        ("x\n".encode("utf-16"), "UTF-16 text: convert it to UTF-8"),
        (b"\xfe\xff" + "x\n".encode("utf-16-be"), "UTF-16 text: convert it to UTF-8"),
        ("x\n".encode("utf-32"), "UTF-32 text: convert it to UTF-8"),
        (b'<srcset setid="newstest" srclang="any">\n<hl>\n', "SGML or XML: take the sentences"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n', "SGML or XML: take the sentences"),
    ],
    ids=[*PACK, "zip", "utf-16", "utf-16-be", "utf-32", "sgml", "xml"],
)
@pytest.mark.parametrize("name", ["train.{lang}", "train.tsv"])
def test_what_is_no_plain_text_is_named(
    tmp_path: Path, content: bytes, expected: str, name: str
) -> None:
    write_sides(tmp_path, content, b"y\n" * content.count(b"\n"))
    (tmp_path / "train.tsv").write_bytes(content)
    with pytest.raises(DataError, match=rf"train\.\w+: not plain text but .*{expected}"):
        read(tmp_path, name, source_column="0", target_column="0")
