"""Decoding speed of several models over the same text, measured in turn."""

from collections.abc import Mapping, Sequence
from statistics import median
from time import perf_counter

from wd.config import Config, EvaluationConfig
from wd.decoding.engine import Hypothesis, Translator


class Speed(Config):
    """The median over the repeats, tokenization included."""

    seconds: float
    sentences_per_second: float
    tokens_per_second: float
    """Target pieces, end markers included."""


def translate_with(
    translator: Translator, lines: Sequence[str], config: EvaluationConfig
) -> list[Hypothesis]:
    """Translate with the evaluation's settings."""
    return translator.translate(
        lines,
        beam_size=config.beam_size,
        length_penalty=config.length_penalty,
        max_length=config.max_length,
        batch_tokens=config.batch_tokens,
    )


def measure(
    translators: Mapping[str, Translator], lines: Sequence[str], config: EvaluationConfig
) -> tuple[dict[str, list[Hypothesis]], dict[str, Speed]]:
    """Return every model's hypotheses and its speed.

    A first translation, not timed, warms each model up and yields its hypotheses. Then the
    models take turns, so that a change in the machine's load meets all of them alike.
    """
    hypotheses = {
        name: translate_with(translator, lines, config) for name, translator in translators.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in translators}
    for _ in range(config.speed_repeats):
        for name, translator in translators.items():
            started = perf_counter()
            translate_with(translator, lines, config)
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
