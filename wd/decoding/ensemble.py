"""Several teachers translate together: each proposes what its beam finds, and all of them judge."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from wd.config import ChosenQuantization, DecodingConfig
from wd.decoding.engine import Translator
from wd.decoding.lines import Hypothesis

_CHUNK_LINES = 8192


class Ensemble:
    """Loaded models with tokenizers of their own: they need to share the languages only.

    Not a joint beam, for which models must share their vocabulary and no fast engine is to be had:
    the proposals of all, each text once, are scored by all and the best on average are taken. With
    one model its own translations come out as they are.
    """

    def __init__(self, translators: Sequence[Translator]) -> None:
        self._translators = translators
        self.device = translators[0].device

    @classmethod
    def from_directories(
        cls, folders: Sequence[Path], *, quantization: ChosenQuantization, device: str, threads: int
    ) -> Self:
        """Load model directories; see `Translator.from_directory`."""
        return cls(
            [
                Translator.from_directory(
                    folder, quantization=quantization, device=device, threads=threads
                )
                for folder in folders
            ]
        )

    def n_best(
        self, lines: Sequence[str], settings: DecodingConfig, count: int
    ) -> list[list[Hypothesis]]:
        """Return up to `count` translations of each line; see `Translator.n_best`.

        A score is the mean of the models' log-probabilities of the text, as each one's tokenizer
        splits it, over the proposal's length to the power of the length penalty.
        """
        if len(self._translators) == 1:
            return self._translators[0].n_best(lines, settings, count)
        return [best for chunk in _chunks(lines) for best in self._judged(chunk, settings, count)]

    def _judged(
        self, lines: Sequence[str], settings: DecodingConfig, count: int
    ) -> list[list[Hypothesis]]:
        proposed: list[dict[str, Hypothesis]] = [{} for _ in lines]
        for translator in self._translators:
            beams = translator.n_best(lines, settings, settings.beam_size)
            for known, beam in zip(proposed, beams, strict=True):
                for one in beam:
                    known.setdefault(one.text, one)
        pairs = [(line, one) for line, known in zip(lines, proposed, strict=True) for one in known]
        judged = iter(self._scores(pairs, settings))
        ranked = []
        for known in proposed:
            rescored = [
                replace(one, score=next(judged) / max(1, one.tokens) ** settings.length_penalty)
                for one in known.values()
            ]
            ranked.append(sorted(rescored, key=lambda one: one.score, reverse=True)[:count])
        return ranked

    def _scores(
        self, pairs: Sequence[tuple[str, str]], settings: DecodingConfig
    ) -> Iterator[float]:
        """Yield each pair's log-probability, the mean over the models; 0 for a blank line."""
        sources, targets = [source for source, _ in pairs], [target for _, target in pairs]
        scores = [each.log_probabilities(sources, targets, settings) for each in self._translators]
        for several in zip(*scores, strict=True):
            yield sum(several) / len(several)


def _chunks(lines: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the lines, no more at a time than whose proposals are to be in memory."""
    for start in range(0, len(lines), _CHUNK_LINES):
        yield lines[start : start + _CHUNK_LINES]
