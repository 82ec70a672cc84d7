"""SentencePiece: train one joint model or one per language, encode, decode."""

import io
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Self

import pyarrow.parquet as pq
import sentencepiece as spm

from wd.config import TokenizerConfig
from wd.data.schema import BOS, EOS, PAD, SPECIAL_PIECES, UNK, part_files
from wd.errors import ArtifactError, DataError

SOURCE_MODEL, TARGET_MODEL = "source.model", "target.model"
_LONGEST_BYTES = 4192  # SentencePiece skips longer sentences in training
# Unigram training sums floats per thread: the count must not depend on the machine.
_TRAINING_THREADS = 8


class Tokenizer:
    """The two sides' SentencePiece models; one and the same where they are joint."""

    def __init__(self, source: bytes, target: bytes, threads: int = 1) -> None:
        self._source = spm.SentencePieceProcessor(model_proto=source)
        same = source == target
        self._target = self._source if same else spm.SentencePieceProcessor(model_proto=target)
        self._threads = threads

    @classmethod
    def load(cls, folder: Path, threads: int = 1) -> Self:
        """Read `source.model` and `target.model` of an artifact or model directory.

        Raises ArtifactError if one is missing or not a SentencePiece model.
        """
        try:
            source, target = ((folder / name).read_bytes() for name in (SOURCE_MODEL, TARGET_MODEL))
        except OSError as error:
            raise ArtifactError(f"{error.filename}: no such tokenizer model") from None
        try:
            return cls(source, target, threads)
        except RuntimeError:
            raise ArtifactError(f"{folder}: its tokenizer models are damaged") from None

    def encode_source(self, lines: Sequence[str]) -> list[list[int]]:
        """Return each line's piece ids, EOS appended."""
        return self._encode(self._source, lines)

    def encode_target(self, lines: Sequence[str]) -> list[list[int]]:
        """Return each line's piece ids, EOS appended."""
        return self._encode(self._target, lines)

    def _encode(self, model: spm.SentencePieceProcessor, lines: Sequence[str]) -> list[list[int]]:
        encoded: list[list[int]] = model.encode(
            list(lines), add_eos=True, num_threads=self._threads
        )
        return encoded

    def decode_target(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Return the text of each sequence; special ids are ignored, PAD and UNK too."""
        known = [[int(piece) for piece in sequence if piece > EOS] for sequence in ids]
        # SentencePiece reads an empty list as "no sentence" where a batch is meant.
        texts: list[str] = self._target.decode(known, num_threads=self._threads) if known else []
        return texts

    @property
    def source_vocabulary(self) -> int:
        """Number of source pieces."""
        return int(self._source.get_piece_size())

    @property
    def target_vocabulary(self) -> int:
        """Number of target pieces."""
        return int(self._target.get_piece_size())

    @property
    def source_pieces(self) -> list[str]:
        """The source pieces in the order of their ids."""
        return [self._source.id_to_piece(index) for index in range(self.source_vocabulary)]

    @property
    def target_pieces(self) -> list[str]:
        """The target pieces in the order of their ids."""
        return [self._target.id_to_piece(index) for index in range(self.target_vocabulary)]


def train_tokenizer(train: Path, out: Path, config: TokenizerConfig) -> dict[str, int]:
    """Train on a corpus' training parts, write `source.model` and `target.model` to `out`.

    Returns the number of sentences read per side. Raises DataError if the text cannot fill the
    vocabulary or the vocabulary cannot hold the text's characters.
    """
    parts = part_files(train)
    pairs = sum(pq.read_metadata(part).num_rows for part in parts)
    stride = -(-pairs // config.training_sentences) or 1
    if config.joint:
        sides = (_sentences(parts, side, stride) for side in ("source", "target"))
        model = _train(chain.from_iterable(sides), config, "source and target text")
        (out / SOURCE_MODEL).write_bytes(model)
        (out / TARGET_MODEL).write_bytes(model)
    else:
        for side, name in (("source", SOURCE_MODEL), ("target", TARGET_MODEL)):
            model = _train(_sentences(parts, side, stride), config, f"{side} text")
            (out / name).write_bytes(model)
    return {"sentences_per_side": -(-pairs // stride)}


def _sentences(parts: Sequence[Path], column: str, stride: int) -> Iterator[str]:
    """Yield every `stride`-th sentence: a sample spread evenly over the corpus."""
    row = 0
    for part in parts:
        for batch in pq.ParquetFile(part).iter_batches(columns=[column]):
            yield from batch.column(0)[-row % stride :: stride].to_pylist()
            row += len(batch)


def _train(sentences: Iterator[str], config: TokenizerConfig, what: str) -> bytes:
    written = io.BytesIO()
    try:
        spm.SentencePieceTrainer.train(
            sentence_iterator=sentences,
            model_writer=written,
            vocab_size=config.vocabulary_size,
            model_type=config.model_type,
            character_coverage=config.character_coverage,
            max_sentence_length=_LONGEST_BYTES,
            num_threads=_TRAINING_THREADS,
            pad_id=PAD,
            pad_piece=SPECIAL_PIECES[PAD],
            unk_id=UNK,
            unk_piece=SPECIAL_PIECES[UNK],
            bos_id=BOS,
            bos_piece=SPECIAL_PIECES[BOS],
            eos_id=EOS,
            eos_piece=SPECIAL_PIECES[EOS],
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        raise DataError(_explained(str(error), config, what)) from None
    return written.getvalue()


def _explained(error: str, config: TokenizerConfig, what: str) -> str:
    size = f"tokenizer.vocabulary_size={config.vocabulary_size}"
    if found := re.search(r"too high.*?<= (\d+)", error):
        return (
            f"{size} is too large for this {what}: it yields {found[1]} pieces at most; "
            f"set tokenizer.vocabulary_size to {found[1]} or less, or add text"
        )
    if found := re.search(r"smaller than required_chars\D+\d+ vs (\d+)", error):
        return (
            f"{size} is too small for this {what}: its characters alone need {found[1]}; raise "
            "it, or lower tokenizer.character_coverage"
        )
    return f"SentencePiece cannot train on the {what} with {size}: {error}"
