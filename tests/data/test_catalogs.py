import zipfile
from collections import Counter
from pathlib import Path

import polib
import pytest

from wd.config import CorpusConfig
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


def test_catalogs_need_english(tmp_path: Path) -> None:
    (tmp_path / "a.po").write_text(CATALOG, "utf-8")
    with pytest.raises(DataError, match="translate from English"):
        read(tmp_path, "a.po", "fr", "de")
