"""A student as a CTranslate2 folder that needs nothing of this project to run."""

import shutil
from pathlib import Path

from wd.config import Quantization
from wd.data.tokenizer import Tokenizer
from wd.decoding.convert import write_ctranslate2
from wd.interop.new_folder import new_folder
from wd.model.directory import TOKENIZER, load_model


def export_ctranslate2(model: Path, out: Path, quantization: Quantization = "float32") -> None:
    """Convert a model directory to `model.bin`, vocabularies and the SentencePiece models.

    `out` appears whole or not at all. To translate with it, encode with `source.model`, append
    `</s>`, call `ctranslate2.Translator(out).translate_batch`, and decode with `target.model`; a
    teacher's tag, where there is one, stands before the pieces. Raises ArtifactError if `model` is
    not a whole model directory or `out` exists already.
    """
    with new_folder(out) as partial:
        fill_ctranslate2(model, partial, quantization)


def fill_ctranslate2(model: Path, folder: Path, quantization: Quantization = "float32") -> None:
    """Write into an empty folder what `export_ctranslate2` makes."""
    config, state = load_model(model)
    tokenizer = Tokenizer.load(model)
    write_ctranslate2(
        folder,
        config,
        state,
        source_pieces=tokenizer.source_pieces,
        target_pieces=tokenizer.target_pieces,
        quantization=quantization,
    )
    for name in TOKENIZER:
        shutil.copyfile(model / name, folder / name)
