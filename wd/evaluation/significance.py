"""Whether two systems' BLEU or chrF differ by more than chance."""

from collections.abc import Mapping, Sequence
from typing import Literal

from sacrebleu.metrics import CHRF
from sacrebleu.significance import PairedTest

from wd.evaluation.quality import bleu_metric, check_aligned

TRIALS = 2000


def p_value(
    system: Sequence[str],
    baseline: Sequence[str],
    references: Sequence[str],
    language: str,
    trials: int = TRIALS,
    metric: Literal["BLEU", "chrF"] = "BLEU",
) -> float:
    """Return the two-sided p-value of the difference in corpus BLEU, or chrF.

    Approximate randomisation (Riezler and Maxwell 2005) as in sacreBLEU: the share of random
    exchanges of the systems' lines that differ by more than the systems do. The same input gives
    the same value. Raises DataError if the sides are not aligned.
    """
    check_aligned(system, references)
    check_aligned(baseline, references)
    # Exchanges that reproduce the observed difference itself must count too, but sacreBLEU counts
    # only larger ones: with n differing lines, none or all exchanged, their share is 2 / 2**n.
    differing = sum(one != other for one, other in zip(system, baseline, strict=True))
    floor = 2.0 ** (1 - differing)
    if floor >= 1.0:
        return 1.0
    test = PairedTest(
        [("baseline", baseline), ("system", system)],
        {metric: bleu_metric(language) if metric == "BLEU" else CHRF()},
        [references],
        test_type="ar",
        n_samples=trials,
    )
    _, results = test()
    # By what sacreBLEU calls it: chrF is chrF2 there.
    before, after = next(found for name, found in results.items() if name != "System")
    if before.score == after.score:  # every exchange differs by as much at least
        return 1.0
    return max(floor, float(after.p_value))


def p_values(
    texts: Mapping[str, Sequence[str]], baseline: str, references: Sequence[str], language: str
) -> dict[str, float | None]:
    """Return system -> the p-value of its BLEU against the baseline's; None for the baseline."""
    return {
        system: None
        if system == baseline
        else p_value(lines, texts[baseline], references, language)
        for system, lines in texts.items()
    }


def shown_p_value(value: float | None) -> str:
    """Return a p-value's text; of None, a dash."""
    if value is None:
        return "–"
    return "<0.001" if value < 0.001 else f"{value:.3f}"
