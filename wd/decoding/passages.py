"""Text of any length: cut into what a model takes, translated, and put together again."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sentencex

from wd.config import MAX_POSITIONS, DecodingConfig
from wd.decoding.engine import Translator
from wd.decoding.lines import Hypothesis, is_blank
from wd.errors import ConfigError
from wd.language_codes import standard


@dataclass(frozen=True)
class Passage:
    """One line's translation, whatever its length."""

    text: str
    parts: tuple[Hypothesis, ...]
    """What it is put together from; of a blank line nothing."""
    is_long: bool
    """Whether something in it had too many pieces to be translated at once."""

    @property
    def is_cut(self) -> bool:
        """Whether a part would have gone on beyond `max_length`."""
        return any(part.is_cut for part in self.parts)


def translate_passages(
    translator: Translator,
    lines: Sequence[str],
    settings: DecodingConfig,
    language: str | None = None,
) -> list[Passage]:
    """Translate each line; the result has the lines' order.

    With a language, the source's, each sentence of a line is translated on its own. What has more
    than `MAX_POSITIONS` pieces is translated in parts: so nothing of a source is lost. Raises
    ConfigError for a language that is none, DeviceMemoryError.
    """
    code = None if language is None else language_of(language)
    cut = [_parts(translator, line, code) for line in lines]
    flat = [part for parts, _ in cut for part in parts]
    found = iter(translator.translate(flat, settings))
    passages = []
    for line, (parts, is_long) in zip(lines, cut, strict=True):
        own = tuple(next(found) for _ in parts)
        passages.append(
            Passage(_joined([part.text for part in own]) if own else line, own, is_long)
        )
    return passages


def language_of(code: str) -> str:
    """Return the two or three letters by which sentences are told apart in a language.

    Raises ConfigError for a code of no language.
    """
    language = standard(code)
    name = language.language if language and language.is_valid() else None
    if name is None or name.startswith("x-"):  # a private name
        raise ConfigError(f"language {code}: no language's code; say the text's, as in de or zho")
    return name


def _parts(translator: Translator, line: str, code: str | None) -> tuple[list[str], bool]:
    """Return what of a line is translated on its own, and whether something was too long."""
    if is_blank(line):
        return [], False
    sentences = [line] if code is None else sentencex.segment(code, line)
    full = [sentence for sentence in sentences if not is_blank(sentence)]
    parts = [part for sentence in full for part in _fitting(translator, sentence)]
    return parts, len(parts) > len(full)


def _fitting(translator: Translator, text: str) -> Iterator[str]:
    """Yield a text in halves, and halves of halves, that the model can take."""
    if translator.count_pieces(text) <= MAX_POSITIONS:
        yield text
        return
    middle = len(text) // 2
    before, after = text.rfind(" ", 1, middle), text.find(" ", middle, -1)
    spaces = [space for space in (before, after) if space > 0]
    at = min(spaces, key=lambda space: abs(space - middle), default=middle)
    for half in (text[:at], text[at:]):
        if not is_blank(half):
            yield from _fitting(translator, half)


def _joined(texts: Sequence[str]) -> str:
    """Put translations together, with spaces except after a script that has none."""
    if len(texts) == 1:
        return texts[0]
    spaced = (text if _is_unspaced(text[-1:]) else f"{text} " for text in texts)
    return "".join(spaced).rstrip(" ")


def _is_unspaced(character: str) -> bool:
    """Tell whether a character is of Chinese or Japanese, which have no spaces; or their stops."""
    if unicodedata.east_asian_width(character or " ") not in ("W", "F"):
        return False
    return not unicodedata.name(character, "").startswith("HANGUL")
