"""Translation quality: BLEU and chrF as sacreBLEU computes them, with their signatures."""

from collections.abc import Sequence
from importlib.util import find_spec

from sacrebleu.metrics import BLEU, CHRF

from wd.config import Config
from wd.errors import DataError

_UNSPACED = frozenset({"ja", "km", "lo", "my", "th"})
"""Languages without spaces between words, Chinese apart, which has a tokenizer of its own."""


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

    `language` is the target's code, such as de or zh_CN; it chooses BLEU's tokenizer.
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

    Chinese has its own. Japanese is cut by MeCab where it is installed (sacrebleu's extra `ja`),
    else into characters, like other languages without spaces. The rest takes sacreBLEU's default.
    """
    base = language.replace("_", "-").split("-")[0].lower()
    if base == "zh":
        return "zh"
    if base == "ja" and find_spec("MeCab") and find_spec("ipadic"):
        return "ja-mecab"
    return "char" if base in _UNSPACED else "13a"


def check_aligned(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    """Raise DataError unless both sides have the same number of lines, at least one."""
    if len(hypotheses) != len(references):
        raise DataError(
            f"{len(hypotheses)} hypotheses cannot be compared with {len(references)} references: "
            "there must be one for each line"
        )
    if not references:
        raise DataError("nothing to evaluate: the test set has no lines")
