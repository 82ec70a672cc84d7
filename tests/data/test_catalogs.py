import gzip
import re
import struct
import zipfile
from collections import Counter
from pathlib import Path

import polib
import pytest

from wd.config import CorpusConfig
from wd.data import catalogs
from wd.data.catalogs import read_catalogs
from wd.data.sources import find_entries
from wd.errors import DataError

CATALOG = r"""
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\n"

msgid "Save it"
msgstr "Speichern"

#, fuzzy
msgid "A guess"
msgstr "Geraten"

msgid "Not done"
msgstr ""

msgid "%(count)d file"
msgid_plural "%(count)d files"
msgstr[0] "%(count)d Datei"
msgstr[1] "%(count)d Dateien"

msgid "Hello %(name)s"
msgstr "Hallo %(nmae)s"

#. Default: "The real text"
msgid "label_real_text"
msgstr "Der Text"

msgid "label_unknown"
msgstr "Ohne Vorlage"

#~ msgid "Gone"
#~ msgstr "Weg"
"""


def read(folder: Path, name: str, *languages: str) -> tuple[list[tuple[str, ...]], Counter[str]]:
    config = CorpusConfig(dir=str(folder), train=(name,))
    source, target = languages or ("en", "de")
    (entry,) = find_entries(config, (source, target), {})["train"]
    removed: Counter[str] = Counter()
    return list(read_catalogs(entry, removed)), removed


def test_usable_messages_and_what_happened_to_the_others(tmp_path: Path) -> None:
    (tmp_path / "de.po").write_text(CATALOG, "utf-8")
    pairs, removed = read(tmp_path, "{lang}.po")
    assert [pair[:2] for pair in pairs] == [
        ("Save it", "Speichern"),
        ("{0} file", "{0} Datei"),
        ("{0} files", "{0} Dateien"),
        ("The real text", "Der Text"),
    ]
    assert pairs[0][2] == "{lang}.po:7"
    reasons = ("fuzzy", "untranslated", "placeholders", "identifier", "obsolete")
    assert removed == dict.fromkeys(reasons, 1)


def test_english_may_be_the_target(tmp_path: Path) -> None:
    (tmp_path / "de.po").write_text(CATALOG, "utf-8")
    pairs, _ = read(tmp_path, "{lang}.po", "de", "en")
    assert pairs[0][:2] == ("Speichern", "Save it")


def test_compiled_catalog_has_the_same_pairs(tmp_path: Path) -> None:
    catalog = polib.pofile(CATALOG)
    catalog.save_as_mofile(str(tmp_path / "de.mo"))
    pairs, _ = read(tmp_path, "de.mo")
    assert {pair[:2] for pair in pairs} >= {
        ("Save it", "Speichern"),
        ("{0} file", "{0} Datei"),
        ("{0} files", "{0} Dateien"),
    }


@pytest.mark.parametrize(
    ("rule", "forms", "expected"),
    [
        ("nplurals=1; plural=0;", ["Y"], [("ys ys", "Y")]),
        ("nplurals=2; plural=n>1;", ["A", "B"], [("y", "A"), ("ys ys", "B")]),
        (
            "nplurals=3; plural=(n==0 ? 0 : n==1 ? 1 : 2);",
            ["A", "B", "C"],
            [("ys ys", "A"), ("y", "B"), ("ys ys", "C")],
        ),
    ],
)
def test_plural_forms_meet_their_english_form(
    tmp_path: Path, rule: str, forms: list[str], expected: list[tuple[str, str]]
) -> None:
    lines = "".join(f'msgstr[{index}] "{form}"\n' for index, form in enumerate(forms))
    (tmp_path / "a.po").write_text(
        f'msgid ""\nmsgstr "Plural-Forms: {rule}\\n"\n\nmsgid "y"\nmsgid_plural "ys ys"\n{lines}'
    )
    assert [pair[:2] for pair in read(tmp_path, "a.po")[0]] == expected


def catalog_of(translation: str) -> str:
    return f'msgid ""\nmsgstr ""\n\nmsgid "Two words"\nmsgstr "{translation}"\n'


def write_wheel(path: Path, files: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)


def test_wheel_gives_each_catalog_in_its_best_locale(tmp_path: Path) -> None:
    write_wheel(
        tmp_path / "a-1-py3-none-any.whl",
        {
            "a/locale/zh_TW/LC_MESSAGES/django.po": catalog_of("traditionell"),
            "a/locale/zh_CN/LC_MESSAGES/django.po": catalog_of("China"),
            "a/locale/zh_Hans/LC_MESSAGES/django.po": catalog_of("vereinfacht"),
            "a/locale/zh_Hans/LC_MESSAGES/django.mo": "never opened: the .po is there",
            "a/locale/zh_CN/LC_MESSAGES/js.po": catalog_of("nur China"),
            "a/locale/de/LC_MESSAGES/django.po": catalog_of("deutsch"),
            "a/locale/de_Informal/LC_MESSAGES/django.po": catalog_of("du"),
            "b/i18n/de_DE.po": catalog_of("flach"),
        },
    )
    chinese, _ = read(tmp_path, "a-1-py3-none-any.whl", "en", "zh")
    assert [pair[1] for pair in chinese] == ["nur China", "vereinfacht"]
    german, _ = read(tmp_path, "a-1-py3-none-any.whl", "en", "de")
    assert [pair[1] for pair in german] == ["deutsch", "flach"]
    assert german[0][2] == "a-1-py3-none-any.whl/a/locale/de/LC_MESSAGES/django.po:4"
    assert read(tmp_path, "a-1-py3-none-any.whl", "en", "fr") == ([], {})


def test_damaged_files(tmp_path: Path) -> None:
    (tmp_path / "a-1-py3-none-any.whl").write_text("no zip")
    with pytest.raises(DataError, match="not a readable wheel"):
        read(tmp_path, "a-1-py3-none-any.whl")
    (tmp_path / "a.po").write_bytes(b'msgid "a"\nmsgstr "\xff"\n')
    with pytest.raises(DataError, match=r"a\.po: not a valid \.po catalog"):
        read(tmp_path, "a.po")
    (tmp_path / "a.po").write_text("msgid unquoted\nnonsense\n")
    with pytest.raises(DataError, match=r"not a valid \.po catalog"):
        read(tmp_path, "a.po")
    (tmp_path / "a.mo").write_bytes(b"\x00" * 3)
    with pytest.raises(DataError, match=r"a\.mo: not a valid \.mo catalog"):
        read(tmp_path, "a.mo")


def test_compressed_catalog_has_the_same_pairs(tmp_path: Path) -> None:
    polib.pofile(CATALOG).save_as_mofile(str(tmp_path / "de.mo"))
    (tmp_path / "de.po").write_text(CATALOG, "utf-8")
    plain = {kind: read(tmp_path, f"{{lang}}.{kind}") for kind in ("po", "mo")}
    for kind in plain:
        path = tmp_path / f"de.{kind}"
        path.with_suffix(f".{kind}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
        assert read(tmp_path, f"{{lang}}.{kind}") == plain[kind]


def test_lines_of_a_catalog_end_where_its_lines_end(tmp_path: Path) -> None:
    mark = "\ufeff"
    text = f"{mark}# a\u2028b\x0cc\x85d\n{mark}" + catalog_of("zwei\u2028W\x85örter")
    (tmp_path / "de.po").write_text(text, "utf-8")
    pairs, _ = read(tmp_path, "de.po")
    assert pairs == [("Two words", "zwei\u2028W\x85örter", "de.po:5")]


def test_catalog_is_never_taken_for_the_name_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").write_text(catalog_of("fremd"))
    (tmp_path / "a.po").write_text("other")
    with pytest.raises(DataError, match=r"a\.po: not a valid \.po catalog"):
        read(tmp_path, "a.po")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (CATALOG.encode("utf-16"), "it holds UTF-16 text: convert it"),
        (gzip.compress(CATALOG.encode()), r"it holds gzip data: name it \.gz"),
        (b"# one\n# t\0wo\n", "a NUL character in line 2"),
    ],
    ids=["utf-16", "gzip", "nul"],
)
def test_catalog_that_is_no_text(tmp_path: Path, data: bytes, expected: str) -> None:
    (tmp_path / "a.po").write_bytes(data)
    with pytest.raises(DataError, match=rf"a\.po: not a valid \.po catalog: {expected}"):
        read(tmp_path, "a.po")


@pytest.mark.parametrize("rule", ["n/0", "1 % (n-1)"])
def test_plural_rule_that_divides_by_zero(tmp_path: Path, rule: str) -> None:
    (tmp_path / "a.po").write_text(CATALOG.replace("(n != 1)", rule))
    expected = f"a.po: its plural rule, {rule}, divides by zero: mend it"
    with pytest.raises(DataError, match=re.escape(expected)):
        read(tmp_path, "a.po")


def test_unknown_charset_of_a_compiled_catalog(tmp_path: Path) -> None:
    text = CATALOG.replace("charset=UTF-8", "charset=hex")
    catalog = polib.pofile(text)
    catalog.encoding = "utf-8"
    catalog.save_as_mofile(str(tmp_path / "a.mo"))
    with pytest.raises(DataError, match=r"a\.mo: not a valid \.mo catalog"):
        read(tmp_path, "a.mo")


@pytest.mark.timeout(60)
def test_strings_of_a_compiled_catalog_may_not_claim_more_than_there_is(tmp_path: Path) -> None:
    """300,000 strings that are all the same 2 MB: 600 GB."""
    count = 300_000
    text = b"x" * 2_000_000 + b"\0"
    row = struct.pack("<II", len(text) - 1, 28 + 8 * count)
    table = struct.pack("<7I", 0x950412DE, 0, count, 28, 28, 0, 28)
    (tmp_path / "a.mo").write_bytes(table + row * count + text)
    with pytest.raises(DataError, match=r"a\.mo: .* claim to be longer than the file"):
        read(tmp_path, "a.mo")


WHEEL = "a-1-py3-none-any.whl"
INSIDE = "a/locale/de/LC_MESSAGES/a.po"


@pytest.mark.parametrize(
    ("packing", "damage", "expected"),
    [
        (zipfile.ZIP_STORED, "flags", "encrypted"),
        (zipfile.ZIP_STORED, "method", "compression method is not supported"),
        (zipfile.ZIP_STORED, "content", "Bad CRC-32"),
        (zipfile.ZIP_DEFLATED, "content", ""),
        (zipfile.ZIP_BZIP2, "content", ""),
        (zipfile.ZIP_LZMA, "content", ""),
    ],
)
def test_wheel_that_is_encrypted_damaged_or_packed_by_an_unknown_method(
    tmp_path: Path, packing: int, damage: str, expected: str
) -> None:
    with zipfile.ZipFile(tmp_path / WHEEL, "w", packing) as wheel:
        wheel.writestr(INSIDE, CATALOG)
    data = bytearray((tmp_path / WHEEL).read_bytes())
    local, central = 0, data.index(b"PK\x01\x02")
    if damage == "flags":
        data[local + 6] |= 1
        data[central + 8] |= 1
    elif damage == "method":
        data[local + 8] = data[central + 10] = 97
    else:
        start = 30 + len(INSIDE) + 20
        data[start : start + 40] = bytes(40)
    (tmp_path / WHEEL).write_bytes(data)
    with pytest.raises(DataError, match=f"{WHEEL}: not a readable wheel: .*{expected}"):
        read(tmp_path, WHEEL)


def test_catalogs_may_not_unpack_to_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogs, "_LARGEST", 2 << 20)
    text = "#" * (1 << 20) + "\n" + catalog_of("zwei Wörter")
    files = {f"{name}/locale/de/LC_MESSAGES/x.po": text for name in "abc"}
    write_wheel(tmp_path / WHEEL, {**files, "c/x.txt": text})
    with pytest.raises(DataError, match=f"{WHEEL}: not a readable wheel: .* larger than 2 MiB"):
        read(tmp_path, WHEEL)
    write_wheel(tmp_path / WHEEL, dict.fromkeys(files, text[1 << 19 :]) | {"c/x.txt": text})
    assert len(read(tmp_path, WHEEL)[0]) == 3
    (tmp_path / "a.po.gz").write_bytes(gzip.compress(text.encode() * 3))
    with pytest.raises(DataError, match=r"a\.po\.gz: larger than 2 MiB when unpacked"):
        read(tmp_path, "a.po")
    (tmp_path / "a.po").write_text(text * 3)
    assert read(tmp_path, "a.po")[0]


def test_catalogs_need_english(tmp_path: Path) -> None:
    (tmp_path / "a.po").write_text(CATALOG, "utf-8")
    with pytest.raises(DataError, match="translate from English"):
        read(tmp_path, "a.po", "fr", "de")
