"""Of several translations of a line, the one that is nearest to its reference."""

from collections.abc import Sequence

from sacrebleu.metrics import CHRF

from wd.decoding.lines import Hypothesis

_CHRF = CHRF()


def nearest(hypotheses: Sequence[Hypothesis], reference: str | None) -> int:
    """Return the index of the hypothesis with the highest sentence chrF (sacreBLEU's default).

    Of equally near ones it is the first, which is the most probable; so it is without a reference.
    """
    if not reference or len(hypotheses) == 1:
        return 0
    scores = [_CHRF.sentence_score(found.text, [reference]).score for found in hypotheses]
    return scores.index(max(scores))
