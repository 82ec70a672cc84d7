"""SentencePiece: encode and decode."""

import unicodedata
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Self

import sentencepiece as spm

from wd.config import BYTE_PIECES
from wd.data.filters import cleaned
from wd.data.schema import EOS
from wd.errors import ArtifactError

SOURCE_MODEL, TARGET_MODEL = "source.model", "target.model"


class Tokenizer:
    """The two sides' SentencePiece models; one and the same where they are joint."""

    def __init__(self, source: bytes, target: bytes, threads: int = 1) -> None:
        self._source = spm.SentencePieceProcessor(model_proto=source)
        same = source == target
        self._target = self._source if same else spm.SentencePieceProcessor(model_proto=target)
        self._threads = threads
        self._target_bytes = _byte_pieces(self._target)

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
        """Return the text of each sequence, always one line with single spaces.

        Special ids are ignored, PAD and UNK too, and so are byte pieces that spell no character,
        or a control character.
        """
        known = [self._spelt([int(piece) for piece in row if piece > EOS]) for row in ids]
        # SentencePiece reads an empty list as "no sentence" where a batch is meant.
        texts: list[str] = self._target.decode(known, num_threads=self._threads) if known else []
        return list(map(cleaned, texts))

    def _spelt(self, ids: list[int]) -> list[int]:
        """Take out byte pieces that do not make up UTF-8 text."""
        if self._target_bytes.keys().isdisjoint(ids):
            return ids
        first = self._target.piece_to_id(BYTE_PIECES[0])
        kept: list[int] = []
        for is_byte, run in groupby(ids, self._target_bytes.__contains__):
            if is_byte:
                text = bytes(self._target_bytes[piece] for piece in run).decode(errors="ignore")
                spelt = "".join(one for one in text if one.isspace() or not _is_control(one))
                kept.extend(first + byte for byte in spelt.encode())
            else:
                kept.extend(run)
        return kept

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


def _byte_pieces(model: spm.SentencePieceProcessor) -> dict[int, int]:
    """Return id -> byte; nothing where the model has no byte pieces."""
    ids = map(model.piece_to_id, BYTE_PIECES)
    return {piece: byte for byte, piece in enumerate(ids) if model.is_byte(piece)}


def _is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc"
