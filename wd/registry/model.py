"""The registered student as MLflow runs it (models-from-code: MLflow executes this file).

It needs what the version's requirements name and nothing of this project: a version is loaded
where the project is not installed, or another version of it is. So the few steps around the
engine stand here once more; a test holds them against `wd.decoding.engine`, line by line.
"""

import unicodedata
from itertools import groupby
from pathlib import Path
from typing import Any

import ctranslate2
import mlflow.models
import mlflow.pyfunc
import sentencepiece

MOST_PIECES = 1024
"""Of a source; what is longer is cut."""
_UNK, _BOS, _EOS = 1, 2, 3
_BYTES = {f"<0x{byte:02X}>": byte for byte in range(256)}
_NO_INK = {"Cc", "Cf", "Zl", "Zp", "Zs"}
_BLANKS = {*"\u034f\u115f\u1160\u2800\u3164\uffa0", *map(chr, range(0xFE00, 0xFE10))}


class TranslationModel(mlflow.pyfunc.PythonModel):
    """Lines in, lines out."""

    def load_context(self, context: Any) -> None:
        """Load the CTranslate2 model and the tokenizers that were registered, for the CPU."""
        folder = Path(context.artifacts["engine"])
        settings = dict(context.model_config)
        self.engine = ctranslate2.Translator(
            str(folder), device="cpu", compute_type=settings.pop("quantization")
        )
        self.settings = settings
        self.source, self.target = (
            sentencepiece.SentencePieceProcessor(model_file=str(folder / f"{side}.model"))
            for side in ("source", "target")
        )

    def predict(
        self, context: Any, model_input: list[str], params: dict[str, Any] | None = None
    ) -> list[str]:
        """Translate each line; `params` replace decoding settings, `beam_size` for one.

        A blank line's translation is the line itself. Raises ValueError for settings that cannot
        be.
        """
        settings = self.settings | (params or {})
        _check(settings)
        lines = list(model_input)
        full = [index for index, line in enumerate(lines) if not _is_blank(line)]
        found = self.engine.translate_batch(
            [self._pieces(lines[index]) for index in full],
            beam_size=settings["beam_size"],
            length_penalty=settings["length_penalty"],
            min_decoding_length=1,
            max_decoding_length=settings["max_length"],
            max_input_length=MOST_PIECES,
            max_batch_size=settings["batch_tokens"],
            batch_type="tokens",
            return_end_token=True,
        )
        for index, result in zip(full, found, strict=True):
            lines[index] = self._text(result.hypotheses[0])
        return lines

    def _pieces(self, line: str) -> list[str]:
        """Return a line's pieces.

        By their spelling: a teacher from elsewhere may list what its SentencePiece does not know.
        """
        begin = self.source.bos_id()  # a teacher's target language, where it had several
        ids = [] if begin == _BOS else [begin]
        spelt = map(self.source.piece_to_id, self.source.encode(line, out_type=str))
        ids += [each if each > _EOS else _UNK for each in spelt]
        return [self.source.id_to_piece(piece) for piece in [*ids[: MOST_PIECES - 1], _EOS]]

    def _text(self, pieces: list[str]) -> str:
        """Return the text; byte pieces that spell no character, or a control one, are left out."""
        kept: list[int] = []
        ids = [each for each in map(self.target.piece_to_id, pieces) if each > _EOS]
        for is_byte, run in groupby(ids, self.target.is_byte):
            if is_byte:
                values = bytes(_BYTES[self.target.id_to_piece(piece)] for piece in run)
                spelt = [
                    one
                    for one in values.decode(errors="ignore")
                    if one.isspace() or unicodedata.category(one) != "Cc"
                ]
                kept += [
                    self.target.piece_to_id(f"<0x{byte:02X}>") for byte in "".join(spelt).encode()
                ]
            else:
                kept += run
        return " ".join(self.target.decode(kept).split())


def _is_blank(line: str) -> bool:
    return all(unicodedata.category(one) in _NO_INK or one in _BLANKS for one in line)


def _check(settings: dict[str, Any]) -> None:
    if not 1 <= settings["max_length"] <= MOST_PIECES:
        raise ValueError(f"max_length {settings['max_length']} is not within 1 to {MOST_PIECES}")
    for key in ("beam_size", "batch_tokens"):
        if settings[key] < 1:
            raise ValueError(f"{key} {settings[key]} is less than 1")
    if settings["length_penalty"] < 0:
        raise ValueError(f"length_penalty {settings['length_penalty']} is less than 0")


mlflow.models.set_model(TranslationModel())
