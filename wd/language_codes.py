"""What a language's code says: which language it is, and which script that is written in.

Codes are BCP 47 tags with hyphens or underscores, of two letters or three: de, deu, pt_BR,
zho_Hans. What is no such tag (a private name such as `source`) is a language of its own.
"""

from langcodes import Language, LanguageTagError


def standard(code: str) -> Language | None:
    """Return the shortest form of a code (de of deu, zh of cmn), or None if it is no such tag."""
    try:
        # An individual language stands for its macrolanguage only where that is what people mean
        # by it: cmn and arb become zh and ar, while yue stays yue and nn stays nn.
        language = Language.get(Language.get(code).prefer_macrolanguage().to_tag())
    except LanguageTagError:
        return None
    return None if language.language in (None, "und") else language


def same_language(one: str, other: str) -> bool:
    """Tell whether two codes mean the same: de and deu, zh and zho_Hans; not en_GB and en_US."""
    return _whole(one) == _whole(other)


def _whole(code: str) -> str:
    """Return the code with the script and the region that it has if nothing is said of them."""
    language = standard(code)
    return language.maximize().to_tag() if language else code.casefold()


def script(code: str) -> str | None:
    """Return the four letters of the script that a language is written in, or None if unknown."""
    language = standard(code)
    if not language or not Language.make(language=language.language).is_valid():
        return None  # the likely script of an unknown language is a guess
    return language.maximize().script
