"""What depends on the language: locale names, and how long a text is."""

import re

from wd.errors import DataError

# Han, kana, Thai, Lao, Burmese, Khmer: written without spaces between words.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
_LOCALES = {
    "zh": ("zh_Hans", "zh_CN", "zh_Hans_CN", "zh"),
    "zh_hant": ("zh_Hant", "zh_TW", "zh_Hant_TW"),
    "pt": ("pt", "pt_PT"),
    "nb": ("nb", "nb_NO", "no"),
    "sv": ("sv", "sv_SE"),
    "cs": ("cs", "cs_CZ"),
    "da": ("da", "da_DK"),
    "el": ("el", "el_GR"),
    "ja": ("ja", "ja_JP"),
    "ko": ("ko", "ko_KR"),
    "uk": ("uk", "uk_UA"),
    "vi": ("vi", "vi_VN"),
}


def variants(language: str) -> tuple[str, ...]:
    """Return the locale names that stand for a language's standard form, the best first.

    Other regions (de_AT, zh_TW for zh) and registers (de_Informal) are not among them.
    """
    same = language.replace("-", "_")
    return _LOCALES.get(same.lower(), (same, f"{same}_{same.upper()}"))


def catalog_language(languages: tuple[str, str]) -> str:
    """Return the language that message catalogs of a language pair are written in.

    Catalogs translate from English. Raises DataError if English is not one of the two.
    """
    others = [language for language in languages if not re.match("en([-_]|$)", language)]
    if len(others) != 1:
        raise DataError(
            f"message catalogs translate from English, so they hold no {languages[0]}-"
            f"{languages[1]} text: use other files for corpus.train"
        )
    return others[0]


def count_words(text: str) -> int:
    """Count words: white-space separated; two characters of a script without spaces make one."""
    if text.isascii():
        return len(text.split())
    spaced, unspaced = _UNSPACED.subn(" ", text)
    return len(spaced.split()) + (unspaced + 1) // 2


def count_characters(text: str) -> int:
    """Count characters; one of a script without spaces says as much as three letters."""
    if text.isascii():
        return len(text)
    return len(text) + 2 * len(_UNSPACED.findall(text))
