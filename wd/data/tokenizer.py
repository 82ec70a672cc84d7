"""SentencePiece: encode and decode."""

import unicodedata
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Self

import sentencepiece as spm

from wd.config import BYTE_PIECES
from wd.data.filters import cleaned
from wd.data.schema import BOS, EOS, UNK
from wd.errors import ArtifactError

SOURCE_MODEL, TARGET_MODEL = "source.model", "target.model"
UNLISTED = "<unlisted>"
"""A piece that no text has. A model has no rows for those after it and reads them as UNK, though
SentencePiece cuts text into them. Only what another project has trained has such pieces."""


class Tokenizer:
    """The two sides' SentencePiece models; one and the same where they are joint.

    A source model that calls another piece than `<s>` the beginning of a sentence has it before
    every source: so a teacher from elsewhere is told into which of its languages it translates.
    """

    def __init__(self, source: bytes, target: bytes, threads: int = 1) -> None:
        self._source = _Side(source, threads)
        self._target = self._source if source == target else _Side(target, threads)
        self._threads = threads
        self._target_bytes = _byte_pieces(self._target.model)

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
        """Return each line's piece ids: the tag, if there is one, the line's own, and EOS."""
        encoded = self._source.encode(lines)
        tag = self._source.tag
        return encoded if tag is None else [[tag, *ids] for ids in encoded]

    def encode_target(self, lines: Sequence[str]) -> list[list[int]]:
        """Return each line's piece ids, EOS appended."""
        return self._target.encode(lines)

    def decode_target(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Return the text of each sequence, always one line with single spaces.

        Special ids are ignored, PAD and UNK too, and so are byte pieces that spell no character,
        or a control character.
        """
        known = [self._spelt([int(piece) for piece in row if piece > EOS]) for row in ids]
        # SentencePiece reads an empty list as "no sentence" where a batch is meant.
        if not known:
            return []
        texts: list[str] = self._target.model.decode(known, num_threads=self._threads)
        return list(map(cleaned, texts))

    def _spelt(self, ids: list[int]) -> list[int]:
        """Take out byte pieces that do not make up UTF-8 text."""
        if self._target_bytes.keys().isdisjoint(ids):
            return ids
        ids_of = {byte: piece for piece, byte in self._target_bytes.items()}
        kept: list[int] = []
        for is_byte, run in groupby(ids, self._target_bytes.__contains__):
            if is_byte:
                text = bytes(self._target_bytes[piece] for piece in run).decode(errors="ignore")
                spelt = "".join(one for one in text if one.isspace() or not _is_control(one))
                kept.extend(ids_of[byte] for byte in spelt.encode())
            else:
                kept.extend(run)
        return kept

    @property
    def tag(self) -> str | None:
        """The piece that every source begins with, if there is one."""
        tag = self._source.tag
        return None if tag is None else self.source_pieces[tag]

    @property
    def source_vocabulary(self) -> int:
        """Number of source pieces."""
        return self._source.size

    @property
    def target_vocabulary(self) -> int:
        """Number of target pieces."""
        return self._target.size

    @property
    def source_pieces(self) -> list[str]:
        """The source pieces in the order of their ids."""
        return self._source.pieces

    @property
    def target_pieces(self) -> list[str]:
        """The target pieces in the order of their ids."""
        return self._target.pieces


class _Side:
    """A SentencePiece model, and which pieces a model has rows for: all, or down to `UNLISTED`."""

    def __init__(self, proto: bytes, threads: int) -> None:
        self.model = spm.SentencePieceProcessor(model_proto=proto)
        self._threads = threads
        end = self.model.piece_to_id(UNLISTED)
        self._lists_some = self.model.is_unused(end)
        self.size: int = end if self._lists_some else self.model.get_piece_size()

    @property
    def tag(self) -> int | None:
        """The piece that every source begins with."""
        begin: int = self.model.bos_id()
        return None if begin == BOS else begin

    @property
    def pieces(self) -> list[str]:
        """Its pieces in the order of their ids."""
        return [self.model.id_to_piece(index) for index in range(self.size)]

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Return each line's piece ids, EOS appended."""
        encoded: list[list[int]] = self.model.encode(
            list(lines), add_eos=True, num_threads=self._threads
        )
        if not self._lists_some:
            return encoded
        return [self._listed(*each) for each in zip(lines, encoded, strict=True)]

    def _listed(self, line: str, ids: list[int]) -> list[int]:
        """Return a line's ids, UNK for what is not listed.

        What SentencePiece does not know may be listed all the same: another language's piece.
        """
        if all(UNK != piece < self.size for piece in ids):
            return ids
        found = map(self.model.piece_to_id, self.model.encode(line, out_type=str))
        return [*(piece if EOS < piece < self.size else UNK for piece in found), EOS]


def _byte_pieces(model: spm.SentencePieceProcessor) -> dict[int, int]:
    """Return id -> byte; nothing where the model has no byte pieces."""
    ids = map(model.piece_to_id, BYTE_PIECES)
    return {piece: byte for byte, piece in enumerate(ids) if model.is_byte(piece)}


def _is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc"
