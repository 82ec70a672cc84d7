"""Another project's vocabulary in our ids: PAD, UNK, BOS, EOS, then its other pieces in order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from wd.config import SPECIAL_PIECES
from wd.data.schema import BOS, EOS, PAD, UNK
from wd.data.tokenizer import UNLISTED
from wd.errors import ArtifactError, ConfigError

_Piece = ModelProto.SentencePiece
_KINDS = {PAD: _Piece.CONTROL, UNK: _Piece.UNKNOWN, BOS: _Piece.CONTROL, EOS: _Piece.CONTROL}
_NAMES = {PAD: "pad", UNK: "unk", BOS: "bos", EOS: "eos"}


@dataclass(frozen=True)
class Vocabulary:
    """Pieces by their foreign ids, and which of these mean what; None: no piece does."""

    listed: tuple[str, ...]
    unk: int
    eos: int
    start: int | None
    """What a decoder reads before its first piece."""
    pad: int | None

    @cached_property
    def rows(self) -> list[int | None]:
        """The foreign id of each of our ids.

        Another piece that is spelt as one of our special ones has none: no text is cut into it.
        """
        special = [self.pad, self.unk, self.start, self.eos]  # PAD, UNK, BOS, EOS
        others = (
            index
            for index, piece in enumerate(self.listed)
            if index not in special and piece not in (*SPECIAL_PIECES, UNLISTED)
        )
        return [*special, *others]

    @property
    def pieces(self) -> list[str]:
        """The pieces in the order of our ids."""
        others = self.rows[len(SPECIAL_PIECES) :]
        return [*SPECIAL_PIECES, *(self.listed[row] for row in others if row is not None)]


def in_order_of_ids(ids: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """Return a file's pieces by their ids.

    Raises ArtifactError unless these are 0, 1 and so on, ConfigError for a model into several
    languages.
    """
    numbers = [each for each in ids.values() if type(each) is int]
    if sorted(numbers) != list(range(len(ids))):
        raise ArtifactError(f"{path}: damaged: its ids are not 0 to {len(ids) - 1}, each once")
    if tags := [each for each in ids if each.startswith(">>") and each.endswith("<<")]:
        raise ConfigError(
            f"{path}: a model into several languages ({', '.join(tags[:3])}), which its input must "
            "name; what can be imported is a model into one"
        )
    return tuple(sorted(ids, key=ids.__getitem__))


def id_of(piece: str, listed: Sequence[str], path: Path) -> int:
    """Return the id of a piece that a file must have; raises ArtifactError if it has not."""
    if piece not in listed:
        raise ArtifactError(f"{path}: it has no piece {piece}")
    return listed.index(piece)


def sentencepiece_in_our_ids(path: Path, vocabulary: Vocabulary) -> bytes:
    """Return a SentencePiece model that cuts text as the file does, and whose ids are ours.

    Pieces that it does not know are there unused. What it knows beyond the vocabulary stands behind
    `UNLISTED`. Raises ArtifactError for a file that is no SentencePiece model.
    """
    pieces = vocabulary.pieces
    try:
        made = ModelProto.FromString(path.read_bytes())
    except DecodeError:
        raise ArtifactError(f"{path}: not a whole SentencePiece model") from None
    if not made.pieces:
        raise ArtifactError(f"{path}: a SentencePiece model without pieces")
    known = {
        each.piece: each
        for each in made.pieces
        if each.type not in _KINDS.values() and each.piece != UNLISTED
    }
    used = (each.score for each in known.values() if each.type != _Piece.UNUSED)
    lowest = min(used, default=0.0) - 1
    ordered = [_Piece(piece=pieces[index], type=kind) for index, kind in sorted(_KINDS.items())]
    for piece in (*pieces[len(_KINDS) :], UNLISTED):
        unused = _Piece(piece=piece, type=_Piece.UNUSED, score=lowest)
        ordered.append(known.pop(piece, unused))
    del made.pieces[:]
    made.pieces.extend([*ordered, *known.values()])
    for index, name in _NAMES.items():
        setattr(made.trainer_spec, f"{name}_id", index)
        setattr(made.trainer_spec, f"{name}_piece", pieces[index])
    made.trainer_spec.vocab_size = len(made.pieces)
    return bytes(made.SerializeToString(deterministic=True))
