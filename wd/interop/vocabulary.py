"""Another project's vocabulary in our ids: PAD, UNK, BOS, EOS, then its other pieces in order."""

import re
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
from wd.errors import ArtifactError, ConfigError, unknown

_Piece = ModelProto.SentencePiece
_KINDS = {PAD: _Piece.CONTROL, UNK: _Piece.UNKNOWN, BOS: _Piece.CONTROL, EOS: _Piece.CONTROL}
_NAMES = {PAD: "pad", UNK: "unk", BOS: "bos", EOS: "eos"}
_TAG = re.compile(">>(.+)<<")
_TOLD = 30
"""So many languages are told."""


@dataclass(frozen=True)
class Vocabulary:
    """Pieces by their foreign ids, and which of these mean what; None: no piece does."""

    listed: tuple[str, ...]
    unk: int
    eos: int
    start: int | None
    """What a decoder reads before its first piece."""
    pad: int | None
    tag: str | None = None
    """The piece that every source begins with, where a model's target language is named by it."""

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

    Raises ArtifactError unless these are 0, 1 and so on.
    """
    numbers = [each for each in ids.values() if type(each) is int]
    if sorted(numbers) != list(range(len(ids))):
        raise ArtifactError(f"{path}: damaged: its ids are not 0 to {len(ids) - 1}, each once")
    return tuple(sorted(ids, key=ids.__getitem__))


def chosen_tag(listed: Sequence[str], into: str | None, path: Path) -> str | None:
    """Return the piece `>>xxx<<` of the target language `xxx`; None for a model into one language.

    Raises ConfigError where a model into several is not told which, or one that it does not know,
    and where a model into one language is told.
    """
    tags = {found[1]: piece for piece in listed if (found := _TAG.fullmatch(piece))}
    if into in tags:
        return tags[into]
    if into is not None:
        if not tags:
            raise ConfigError(f"{path}: a model into one language only: leave out into ({into})")
        raise ConfigError(f"{path}: {unknown('target language', into, tags)}")
    if not tags:
        return None
    first = sorted(tags)[:_TOLD]
    raise ConfigError(
        f"{path}: a model into several languages, {', '.join(first)}"
        f"{' and others' if len(tags) > _TOLD else ''}: say which, as in "
        f"teacher.into={first[0]} or wd import --into {first[0]}"
    )


def id_of(piece: str, listed: Sequence[str], path: Path) -> int:
    """Return the id of a piece that a file must have; raises ArtifactError if it has not."""
    if piece not in listed:
        raise ArtifactError(f"{path}: it has no piece {piece}")
    return listed.index(piece)


def sentencepiece_in_our_ids(path: Path, vocabulary: Vocabulary) -> bytes:
    """Return a SentencePiece model that cuts text as the file does, and whose ids are ours.

    Pieces that it does not know are there unused. What it knows beyond the vocabulary stands behind
    `UNLISTED`. The vocabulary's tag is the beginning of a sentence to it: see `Tokenizer`. Raises
    ArtifactError for a file that is no SentencePiece model.
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
        if piece == vocabulary.tag:
            known.pop(piece, None)
            ordered.append(_Piece(piece=piece, type=_Piece.CONTROL))
            continue
        unused = _Piece(piece=piece, type=_Piece.UNUSED, score=lowest)
        ordered.append(known.pop(piece, unused))
    del made.pieces[:]
    made.pieces.extend([*ordered, *known.values()])
    for index, name in _NAMES.items():
        setattr(made.trainer_spec, f"{name}_id", index)
        setattr(made.trainer_spec, f"{name}_piece", pieces[index])
    if vocabulary.tag is not None:
        made.trainer_spec.bos_piece = vocabulary.tag
        made.trainer_spec.bos_id = pieces.index(vocabulary.tag)
    made.trainer_spec.vocab_size = len(made.pieces)
    return bytes(made.SerializeToString(deterministic=True))
