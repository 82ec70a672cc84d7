from pathlib import Path

import pytest

from wd.config import DecodingConfig
from wd.decoding.engine import Translator
from wd.decoding.passages import language_of, translate_passages
from wd.errors import ConfigError

SETTINGS = DecodingConfig(beam_size=1, max_length=12)


@pytest.fixture
def translator(model_folder: Path) -> Translator:
    return Translator.from_directory(model_folder, threads=1)


def test_nothing_of_a_long_line_is_lost(translator: Translator, sentences: list[str]) -> None:
    long = " ".join(sentences)
    assert translator.count_pieces(long) > 2048
    short, cut = translate_passages(translator, [sentences[0], long], SETTINGS)
    assert (short.is_long, cut.is_long) == (False, True)
    assert short.parts == tuple(translator.translate([sentences[0]], SETTINGS))
    assert cut.text == " ".join(part.text for part in cut.parts)
    # What its parts read is all of the line, and none is so long that the engine cuts it.
    assert sum(len(part.source) for part in cut.parts) >= translator.count_pieces(long)
    assert max(len(part.source) for part in cut.parts) <= 1024


def test_a_line_without_spaces_is_cut_too(translator: Translator) -> None:
    line = "hund" * 600
    (found,) = translate_passages(translator, [line], SETTINGS)
    assert found.is_long
    assert sum(len(part.source) for part in found.parts) >= translator.count_pieces(line)


def test_blank_lines_and_blank_parts_are_nobody_s_work(translator: Translator) -> None:
    lines = ["", " \u200b", "Der Hund.  \t  ", "\u00a0"]
    found = translate_passages(translator, lines, SETTINGS, "de")
    assert [found[at].text for at in (0, 1, 3)] == [lines[at] for at in (0, 1, 3)]
    assert [len(each.parts) for each in found] == [0, 0, 1, 0]


@pytest.mark.parametrize(
    ("text", "language", "count"),
    [
        ("Am 3. Mai kam Dr. Muster. Er ging.", "de", 2),
        ("\u8fd9\u662f\u4e00\u4e2a\u3002\u8fd9\u662f\u53e6\u4e00\u4e2a\uff01", "zho_Hans", 2),
        ("He left. \u201cWhy?\u201d Nobody knows.", "en", 3),
        ("Un. Deux.", "fra", 2),
    ],
)
def test_sentences_of_a_language(
    translator: Translator, text: str, language: str, count: int
) -> None:
    (found,) = translate_passages(translator, [text], SETTINGS, language)
    assert (len(found.parts), found.is_long) == (count, False)


def test_parts_are_joined_as_their_script_is_written() -> None:
    from wd.decoding.passages import _joined

    assert _joined(["One.", "Two."]) == "One. Two."
    assert _joined(["\u4e00\u3002", "\u4e8c\uff01", "x"]) == "\u4e00\u3002\u4e8c\uff01x"
    assert _joined(["\ud55c\uad6d", "\uc5b4"]) == "\ud55c\uad6d \uc5b4"
    assert _joined(["one "]) == "one "


@pytest.mark.parametrize("code", ["", "source", "german", "x-y", "und"])
def test_what_is_no_language_is_refused(code: str) -> None:
    with pytest.raises(ConfigError, match="no language's code"):
        language_of(code)
