"""What depends on the language: locale names, and how long a text is."""

import re

from langcodes import Language

from wd.errors import DataError
from wd.language_codes import standard

# Han, kana, Thai, Lao, Burmese, Khmer: written without spaces between words.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)


def variants(language: str) -> tuple[str, ...]:
    """Return the locale names that stand for a language's standard form, the best first.

    That is the code as it is spelt, then every way to say or leave out its usual script and region.
    Other regions (de_AT, zh_TW for zh) and registers (de_Informal) are not among them.
    """
    spelt, code = language.replace("-", "_"), standard(language)
    if code is None:
        return (spelt,)
    whole = _whole(code)
    script, region = whole.script, whole.territory
    forms = [(None, None), (script, None), (None, region), (script, region)]
    made = [Language.make(code.language, script=one, territory=two) for one, two in forms]
    names = [str(name).replace("-", "_") for name in made if _whole(name) == whole]
    if code.language == "nb":
        names.append("no")  # of both Norwegian languages, and nearly always this one
    names = list(dict.fromkeys([spelt, *names]))
    if "zh" in names:  # which can be either script
        names.remove("zh")
        names.append("zh")
    return tuple(names)


def _whole(code: Language) -> Language:
    """Add the script and the region that a code has if nothing is said of them."""
    if code.language == "pt" and not code.territory:  # catalogs say pt_BR for Brazil's
        code = code.update_dict({"territory": "PT"})
    return code.maximize()


def catalog_language(languages: tuple[str, str]) -> str:
    """Return the language that message catalogs of a language pair are written in.

    Catalogs translate from English. Raises DataError if English is not one of the two.
    """
    codes = {language: standard(language) for language in languages}
    others = [language for language, code in codes.items() if not code or code.language != "en"]
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
