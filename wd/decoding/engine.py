"""The decoding engine: CTranslate2 behind lines of text."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import ctranslate2
from torch import Tensor

from wd.config import MAX_POSITIONS, ChosenQuantization, DecodingConfig, ModelConfig
from wd.data.schema import EOS, UNK
from wd.data.tokenizer import Tokenizer
from wd.decoding.lines import Hypothesis, is_blank
from wd.decoding.loading import decoding_threads, loaded_engine
from wd.decoding.out_of_memory import memory_explained
from wd.decoding.overlap import overlapped
from wd.model.directory import load_model

# Smaller batches than this waste time; fewer per thread leave threads idle at the end.
_LEAST_BATCH_TOKENS, _BATCHES_PER_THREAD = 512, 4
_CHUNK_LINES = 8192
_LOG = logging.getLogger(__name__)


class Translator:
    """A loaded model. Several threads may call one translator."""

    def __init__(
        self,
        config: ModelConfig,
        engine: ctranslate2.Translator,
        tokenizer: Tokenizer,
        threads: int,
        *,
        shortlists: bool = False,
    ) -> None:
        self.config = config
        self.device: str = engine.device
        self.threads = threads
        self.chunk_lines = _CHUNK_LINES if self.device == "cuda" else None
        self._engine, self._tokenizer = engine, tokenizer
        self._told_unknown, self._shortlists = False, shortlists
        self._source_pieces = tokenizer.source_pieces
        self._target_pieces = tokenizer.target_pieces
        self._target_ids = {piece: index for index, piece in enumerate(self._target_pieces)}

    @classmethod
    def from_directory(
        cls,
        folder: Path,
        *,
        quantization: ChosenQuantization = "auto",
        device: str = "cpu",
        threads: int = 0,
        threads_per_batch: int = 1,
    ) -> Self:
        """Load a model directory.

        `device` is cpu, cuda or auto; `threads` 0 takes every CPU that the process may use; each
        translates batches of its own, with `threads_per_batch` of them together.
        `quantization` auto is float32 on a CPU and float16 on a GPU. Raises ArtifactError for a
        folder that is no whole model, ConfigError for a device or a quantization that this
        machine does not have.
        """
        config, state = load_model(folder)
        tokenizer = Tokenizer.load(folder)
        return cls.from_weights(
            config,
            state,
            tokenizer,
            quantization=quantization,
            device=device,
            threads=threads,
            threads_per_batch=threads_per_batch,
        )

    @classmethod
    def from_weights(
        cls,
        config: ModelConfig,
        state: Mapping[str, Tensor],
        tokenizer: Tokenizer,
        *,
        quantization: ChosenQuantization = "auto",
        device: str = "cpu",
        threads: int = 0,
        threads_per_batch: int = 1,
    ) -> Self:
        """Load a model that is in memory, say in the middle of its training; it is copied."""
        engine = loaded_engine(
            config,
            state,
            source_pieces=tokenizer.source_pieces,
            target_pieces=tokenizer.target_pieces,
            quantization=quantization,
            device=device,
            threads=threads,
            threads_per_batch=threads_per_batch,
        )
        return cls(config, engine, tokenizer, decoding_threads(engine.device, threads))

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

    def log_probabilities(
        self, lines: Sequence[str], translations: Sequence[str], settings: DecodingConfig
    ) -> list[float]:
        """Return each translation's log-probability, its end included, given its line.

        That of a blank line is 0. What is longer than `MAX_POSITIONS` pieces is cut there.
        """
        full = [index for index, line in enumerate(lines) if not is_blank(line)]
        chosen = settings.on(self.device)
        assert chosen.batch_tokens != "auto"
        sources = self._encoded([lines[index] for index in full])
        targets = self._tokenizer.encode_target([translations[index] for index in full])
        with memory_explained(self.device, chosen):
            results = self._engine.score_batch(
                [[self._source_pieces[piece] for piece in line] for line in sources],
                [[self._target_pieces[piece] for piece in line[:-1]] for line in targets],
                max_batch_size=chosen.batch_tokens,
                batch_type="tokens",
                max_input_length=MAX_POSITIONS,
            )
        found = [0.0] * len(lines)
        for index, result in zip(full, results, strict=True):
            found[index] = sum(result.log_probs)
        return found

    def _chunks(self, lines: Sequence[str], full: Sequence[int]) -> list[Sequence[int]]:
        """Return the lines, by their indices, that are decoded at one call each: on a CPU all."""
        if self.chunk_lines is None or len(full) <= self.chunk_lines:
            return [full]
        # Lines of about one length together, so that batches are not padded for being in chunks.
        ordered = sorted(full, key=lambda index: len(lines[index]), reverse=True)
        starts = range(0, len(ordered), self.chunk_lines)
        return [ordered[start : start + self.chunk_lines] for start in starts]

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

    def _decoded(
        self, source_ids: Sequence[Sequence[int]], settings: DecodingConfig, count: int
    ) -> list[ctranslate2.TranslationResult]:
        sources = [[self._source_pieces[piece] for piece in line] for line in source_ids]
        assert settings.batch_tokens != "auto"
        found: list[ctranslate2.TranslationResult]
        with memory_explained(self.device, settings):
            found = self._engine.translate_batch(
                sources,
                beam_size=settings.beam_size,
                num_hypotheses=count,
                length_penalty=settings.length_penalty,
                min_decoding_length=1,
                max_decoding_length=settings.max_length,
                max_input_length=MAX_POSITIONS,
                max_batch_size=self._budget(sources, settings.batch_tokens),
                batch_type="tokens",
                return_scores=True,
                return_end_token=True,
                use_vmap=self._shortlists,
            )
        return found

    def _budget(self, sources: Sequence[Sequence[str]], batch_tokens: int) -> int:
        """Lower the batch budget where a short text would leave threads without a batch."""
        if self.threads == 1:
            return batch_tokens
        share = sum(len(line) for line in sources) // (_BATCHES_PER_THREAD * self.threads)
        return min(batch_tokens, max(_LEAST_BATCH_TOKENS, share))

    def _hypotheses(
        self,
        source_ids: Sequence[Sequence[int]],
        results: Sequence[ctranslate2.TranslationResult],
    ) -> list[list[Hypothesis]]:
        found = [
            [tuple(self._target_ids[piece] for piece in pieces) for pieces in result.hypotheses]
            for result in results
        ]
        texts = iter(self._tokenizer.decode_target([ids for several in found for ids in several]))
        return [
            [
                Hypothesis(next(texts), score, ids, tuple(source))
                for ids, score in zip(several, result.scores, strict=True)
            ]
            for several, result, source in zip(found, results, source_ids, strict=True)
        ]
