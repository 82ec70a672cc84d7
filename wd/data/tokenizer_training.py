"""SentencePiece: train one joint model or one per language."""

import io
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import sentencepiece as spm
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from wd.config import SPECIAL_PIECES, TokenizerConfig
from wd.data.parts import open_part, whole_part
from wd.data.schema import BOS, EOS, PAD, UNK, part_files
from wd.data.tokenizer import SOURCE_MODEL, TARGET_MODEL
from wd.errors import DataError

_LONGEST_BYTES = 4192  # SentencePiece skips longer sentences in training
# Unigram training sums floats per thread: the count must not depend on the machine.
_TRAINING_THREADS = 8
# SentencePiece writes a space as U+2581. Where a text has that character itself, a noncharacter,
# which no text has, stands for it inside the model.
_SPACE_SIGN, _KEPT_SIGN = "\u2581", "\ufdd0"
_SPECIAL: dict[str, Any] = {
    f"{name}_{what}": value
    for name, piece in (("pad", PAD), ("unk", UNK), ("bos", BOS), ("eos", EOS))
    for what, value in (("id", piece), ("piece", SPECIAL_PIECES[piece]))
}


def train_tokenizer(train: Path, out: Path, config: TokenizerConfig) -> dict[str, int]:
    """Train on a corpus' training parts, write `source.model` and `target.model` to `out`.

    Returns the number of sentences read per side. Raises DataError if the text cannot fill the
    vocabulary or the vocabulary cannot hold the text's characters.
    """
    parts = part_files(train)
    pairs = sum(open_part(part).metadata.num_rows for part in parts)
    stride = -(-pairs // config.training_sentences) or 1
    if config.joint:
        sides = (_sentences(parts, side, stride) for side in ("source", "target"))
        model = _train(chain.from_iterable(sides), config, "vocabulary_size", "training text")
        (out / SOURCE_MODEL).write_bytes(model)
        (out / TARGET_MODEL).write_bytes(model)
    else:
        for side, name in (("source", SOURCE_MODEL), ("target", TARGET_MODEL)):
            own = side == "target" and config.target_vocabulary_size is not None
            key = "target_vocabulary_size" if own else "vocabulary_size"
            model = _train(_sentences(parts, side, stride), config, key, f"{side} text")
            (out / name).write_bytes(model)
    return {"sentences_per_side": -(-pairs // stride)}


def _sentences(parts: Sequence[Path], column: str, stride: int) -> Iterator[str]:
    """Yield every `stride`-th sentence: a sample spread evenly over the corpus."""
    row = 0
    for part in parts:
        with whole_part(part):
            for batch in open_part(part).iter_batches(columns=[column]):
                yield from batch.column(0)[-row % stride :: stride].to_pylist()
                row += len(batch)


@contextmanager
def _normalization(name: str) -> Iterator[dict[str, Any]]:
    """Yield the trainer's arguments for a normalisation.

    SentencePiece's own identity knows but one kind of white space, and turns U+2581 into another.
    """
    if name != "identity":
        yield {"normalization_rule_name": name}
        return
    spaces = (code for code in range(0x10000) if chr(code).isspace() and chr(code) != " ")
    sign, kept = f"{ord(_SPACE_SIGN):X}", f"{ord(_KEPT_SIGN):X}"
    with tempfile.TemporaryDirectory(prefix="wd-tokenizer-") as folder:
        before, after = Path(folder, "before.tsv"), Path(folder, "after.tsv")
        before.write_text("".join(f"{code:X}\t20\n" for code in spaces) + f"{sign}\t{kept}\n")
        after.write_text(f"{kept}\t{sign}\n")
        yield {
            "normalization_rule_tsv": str(before),
            "denormalization_rule_tsv": str(after),
        }


def _train(sentences: Iterator[str], config: TokenizerConfig, key: str, what: str) -> bytes:
    size = getattr(config, key)
    written = io.BytesIO()
    try:
        with _normalization(config.normalization) as normalization:
            spm.SentencePieceTrainer.train(
                sentence_iterator=sentences,
                model_writer=written,
                vocab_size=size,
                model_type=config.model_type,
                character_coverage=config.character_coverage,
                byte_fallback=config.byte_fallback,
                user_defined_symbols=list(config.user_symbols),
                max_sentence_length=_LONGEST_BYTES,
                num_threads=_TRAINING_THREADS,
                **_SPECIAL,
                **normalization,
                minloglevel=2,
            )
    except (RuntimeError, OSError) as error:
        raise DataError(_explained(str(error), f"tokenizer.{key}", size, what)) from None
    return _without_paths(written.getvalue())


def _without_paths(model: bytes) -> bytes:
    """Take out of a model where its rules were read from: the same text makes the same bytes."""
    read = ModelProto.FromString(model)
    for spec in (read.normalizer_spec, read.denormalizer_spec):
        spec.ClearField("normalization_rule_tsv")
    return bytes(read.SerializeToString(deterministic=True))


def _explained(error: str, key: str, size: int, what: str) -> str:
    said = f"{key}={size}"
    if found := re.search(r"too high.*?<= (\d+)", error):
        return (
            f"{said} is too large for this {what}: it yields {found[1]} pieces at most; "
            f"set {key} to {found[1]} or less, or add text"
        )
    if found := re.search(r"smaller than required_chars\D+\d+ vs (\d+)", error):
        return (
            f"{said} is too small for this {what}: its characters and the pieces that "
            f"are set apart need {found[1]}; raise it, or lower tokenizer.character_coverage"
        )
    why = error.partition("\n\nAt:")[0]  # where in Python the text came from
    return f"SentencePiece cannot train on the {what} with {said}: {why}"
