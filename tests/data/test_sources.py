from pathlib import Path

import pytest

from tests.data.reading import LANGUAGES, read
from wd.errors import ConfigError, DataError


def test_missing_file_is_told_with_the_hint(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.en: no such file\. Get it from X") as caught:
        read(tmp_path, "train.{lang}", hint="Get it from X")
    assert str(tmp_path) in str(caught.value)


def test_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.doc: unknown format"):
        read(tmp_path, "train.doc")


@pytest.mark.parametrize(
    "ending", ["sgm", "SGML", "xml", "tmx", "xlf", "html", "json", "csv", "tar"]
)
@pytest.mark.parametrize("packing", ["", ".gz"])
def test_other_formats_are_not_read_as_plain_text(
    tmp_path: Path, ending: str, packing: str
) -> None:
    for language in LANGUAGES:
        (tmp_path / f"dev.{language}.{ending}").write_text("<seg>text</seg>\n")
    with pytest.raises(DataError, match=r"is not read; what is read: two aligned .*\.zst.*\.whl"):
        read(tmp_path, f"dev.{{lang}}.{ending}{packing}")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("{lang}.tsv", "holds both languages: its name holds no {lang}"),
        ("{lang}.parquet", "holds both languages: its name holds no {lang}"),
        ("a.parquet.gz", "is compressed inside: unpack it"),
    ],
)
def test_names_that_cannot_be_meant(tmp_path: Path, name: str, expected: str) -> None:
    for path in ("en.tsv", "de.tsv", "en.parquet", "de.parquet", "a.parquet.gz"):
        (tmp_path / path).write_text("text\n")
    with pytest.raises(DataError, match=expected):
        read(tmp_path, name)


@pytest.mark.parametrize(
    ("folder", "name"),
    [("~nobody-has-this-name/x", "a.tsv"), ("a\0b", "a.tsv"), (".", "a\0b.tsv")],
)
def test_names_that_no_file_has(folder: str, name: str) -> None:
    with pytest.raises(ConfigError, match=r"corpus.*: (.*no such home|'a\\x00b.*no NUL)"):
        read(Path(folder), name)


def test_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\.tsv: cannot be read: File name too long"):
        read(tmp_path, "a" * 300 + ".tsv")
