"""Lines of text in, hypotheses out: what every way of decoding shares."""

import logging
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wd.config import MAX_POSITIONS, DecodingConfig
from wd.data.schema import EOS, UNK
from wd.data.tokenizer import Tokenizer
from wd.decoding.overlap import overlapped

_NO_INK = {"Cc", "Cf", "Zl", "Zp", "Zs"}
# Letters, marks and a symbol without a picture: fillers, joiners, the empty braille cell.
_BLANKS = {*"\u034f\u115f\u1160\u2800\u3164\uffa0", *map(chr, range(0xFE00, 0xFE10))}
_LOG = logging.getLogger(__name__)
Scored = tuple[Sequence[int], float]
"""A hypothesis' ids, the end marker last unless it was cut, and its score."""


@dataclass(frozen=True)
class Hypothesis:
    """One line's translation."""

    text: str
    score: float
    """Log-probability over length to the power of the length penalty; 0 for a blank line."""
    pieces: tuple[int, ...]
    """Its ids, the end marker last unless it was cut; none for a blank line."""
    source: tuple[int, ...]
    """The line's own ids, the end marker last; none for a blank line."""

    @property
    def tokens(self) -> int:
        """Pieces in it, the end marker included; 0 for a blank line."""
        return len(self.pieces)

    @property
    def is_cut(self) -> bool:
        """Whether it would have gone on beyond `max_length`."""
        return bool(self.pieces) and self.pieces[-1] != EOS


def is_blank(line: str) -> bool:
    """Whether nothing in a line can be seen: white space, controls, joiners, soft hyphens."""
    return all(
        unicodedata.category(character) in _NO_INK or character in _BLANKS for character in line
    )


class LineTranslator(ABC):
    """A loaded model, or several, with a tokenizer."""

    device: str
    """Where it computes: cpu or cuda."""
    chunk_lines: int | None = None
    """So many lines are decoded at a time, and the next ones made pieces beside; None: all."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._told_unknown = False

    def translate(self, lines: Sequence[str], settings: DecodingConfig) -> list[Hypothesis]:
        """Return the best translation of each line; see `n_best`."""
        return [found[0] for found in self.n_best(lines, settings, 1)]

    def n_best(
        self, lines: Sequence[str], settings: DecodingConfig, count: int
    ) -> list[list[Hypothesis]]:
        """Return up to `count` translations of each line, the best one first, in the lines' order.

        A blank line's only translation is the line itself; any other has at least one piece, and
        at most `max_length`. A source longer than `MAX_POSITIONS` pieces is cut, with a warning.
        Lines are sorted by length and decoded in batches of at most `batch_tokens` source pieces.
        The quantization is the loaded model's, whatever `settings` says. Raises DeviceMemoryError.
        """
        full = [index for index, line in enumerate(lines) if not is_blank(line)]
        hypotheses = [[Hypothesis(line, 0.0, (), ())] for line in lines]
        chosen = settings.on(self.device)
        chunks = self._chunks(lines, full)
        found = overlapped(
            [[lines[index] for index in chunk] for chunk in chunks],
            self._encoded,
            lambda source_ids: self._decoded(source_ids, chosen, count),
            self._hypotheses,
        )
        for chunk, translated in zip(chunks, found, strict=True):
            for index, several in zip(chunk, translated, strict=True):
                hypotheses[index] = several
        return hypotheses

    def count_pieces(self, line: str) -> int:
        """Return how many pieces a source has, its end marker among them."""
        return len(self._tokenizer.encode_source([line])[0])

    @abstractmethod
    def _decoded(
        self, source_ids: Sequence[Sequence[int]], settings: DecodingConfig, count: int
    ) -> Sequence[Any]:
        """Return what is found for each source, in whatever form."""

    @abstractmethod
    def _scored(self, found: Any) -> Sequence[Scored]:
        """Return one source's hypotheses, the best one first, from what `_decoded` found."""

    def _chunks(self, lines: Sequence[str], full: Sequence[int]) -> list[Sequence[int]]:
        """Return the lines, by their indices, that are decoded at one call each: on a CPU all."""
        if self.chunk_lines is None or len(full) <= self.chunk_lines:
            return [full]
        # Lines of about one length together, so that batches are not padded for being in chunks.
        ordered = sorted(full, key=lambda index: len(lines[index]), reverse=True)
        starts = range(0, len(ordered), self.chunk_lines)
        return [ordered[start : start + self.chunk_lines] for start in starts]

    def _hypotheses(
        self, source_ids: Sequence[Sequence[int]], results: Sequence[Any]
    ) -> list[list[Hypothesis]]:
        scored = list(map(self._scored, results))
        texts = iter(self._tokenizer.decode_target([ids for each in scored for ids, _ in each]))
        return [
            [Hypothesis(next(texts), score, tuple(ids), tuple(source)) for ids, score in each]
            for each, source in zip(scored, source_ids, strict=True)
        ]

    def _encoded(self, lines: Sequence[str]) -> list[list[int]]:
        """Return each line's ids, the end marker last."""
        ids = self._tokenizer.encode_source(lines)
        unknown = sum(UNK in line for line in ids)
        if unknown and not self._told_unknown:
            self._told_unknown = True
            _LOG.warning(
                "%d lines hold characters that the model does not know and cannot translate; one "
                "whose recipe sets tokenizer.byte_fallback: true knows all",
                unknown,
            )
        too_long = [index for index, line in enumerate(ids) if len(line) > MAX_POSITIONS]
        if too_long:
            _LOG.warning("%d lines cut to %d pieces", len(too_long), MAX_POSITIONS)
        for index in too_long:
            ids[index] = [*ids[index][: MAX_POSITIONS - 1], EOS]
        return ids
