"""Decoding speed of several models over the same text, measured in turn."""

from collections.abc import Mapping, Sequence
from statistics import median
from time import perf_counter

from wd.config import Config, EvaluationConfig
from wd.decoding.engine import Translator
from wd.decoding.faults import count_cut, warn_of_cuts
from wd.decoding.lines import Hypothesis


class Speed(Config):
    """The median over the repeats, tokenization included."""

    seconds: float
    sentences_per_second: float
    tokens_per_second: float
    """Target pieces, end markers included."""


def translated(
    name: str, translator: Translator, lines: Sequence[str], config: EvaluationConfig
) -> list[Hypothesis]:
    """Return a system's hypotheses; warn where they are cut, since its scores suffer from that."""
    found = translator.translate(lines, config)
    warn_of_cuts(name, count_cut(found), len(found), config.max_length, "evaluation.max_length")
    return found


def measure(
    translators: Mapping[str, Translator], lines: Sequence[str], config: EvaluationConfig
) -> tuple[dict[str, list[Hypothesis]], dict[str, Speed]]:
    """Return every model's hypotheses and its speed.

    A first translation, not timed, warms each model up and yields its hypotheses. Then the
    models take turns, so that a change in the machine's load meets all of them alike.
    """
    hypotheses = {
        name: translated(name, translator, lines, config)
        for name, translator in translators.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in translators}
    for _ in range(config.speed_repeats):
        for name, translator in translators.items():
            started = perf_counter()
            translator.translate(lines, config)
            seconds[name].append(perf_counter() - started)
    return hypotheses, {
        name: _speed(median(seconds[name]), hypotheses[name]) for name in translators
    }


def _speed(seconds: float, hypotheses: Sequence[Hypothesis]) -> Speed:
    return Speed(
        seconds=seconds,
        sentences_per_second=len(hypotheses) / seconds,
        tokens_per_second=sum(hypothesis.tokens for hypothesis in hypotheses) / seconds,
    )
