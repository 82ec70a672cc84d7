"""From a source to a model directory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from wd.data.tokenizer import Tokenizer
from wd.errors import ArtifactError
from wd.interop import (
    fairseq_weights,
    marian_hf_probe,
    marian_hf_weights,
    marian_npz_weights,
)
from wd.interop.fairseq import Fairseq
from wd.interop.marian_hf import MarianHf
from wd.interop.marian_npz import MarianNpz
from wd.interop.model_directory import ModelDirectory
from wd.interop.source import Source
from wd.interop.teacher import Teacher
from wd.model.directory import TOKENIZER, load_model
from wd.model.sizes import count_parameters

CLOSE = 1e-3
"""Logits of the same weights may differ by so much: the order of sums, in float32."""


def import_model(source: Source, out: Path) -> dict[str, Any]:
    """Fill the folder `out` with the model directory; return what was found, as plain data.

    `difference` is the largest one of logits to those of the source on random pieces; None where
    the library that runs the source is not installed. Raises ArtifactError for what is missing,
    damaged or left over, and if the import computes something else than its source.
    """
    teacher = _READ[type(source)](source)
    teacher.write(out)
    difference = _DIFFERENCE.get(type(source), _not_compared)(source, out)
    if difference is not None and not difference < CLOSE:
        raise ArtifactError(
            f"{source.place}: the imported model's logits differ by {difference:.3g} from those of "
            f"its source, a {source.kind} model: it has something that the import does not know"
        )
    return {
        "kind": source.kind,
        "tensors": teacher.tensors,
        "parameters": count_parameters(teacher.config),
        "difference": difference,
    }


def _of_ours(source: ModelDirectory) -> Teacher:
    config, weights = load_model(source.place)
    tokenizer = Tokenizer.load(source.place)
    pieces = tokenizer.source_vocabulary, tokenizer.target_vocabulary
    if pieces != (config.source_vocabulary, config.target_vocabulary):
        raise ArtifactError(
            f"{source.place}: the model has {config.source_vocabulary} source and "
            f"{config.target_vocabulary} target pieces, its tokenizer {pieces[0]} and {pieces[1]}: "
            "they were not made for each other"
        )
    of_source, of_target = ((source.place / name).read_bytes() for name in TOKENIZER)
    return Teacher(config, weights, (of_source, of_target), tensors=len(weights))


def _not_compared(source: Source, made: Path) -> None:
    return None


_READ: dict[type[Source], Callable[[Any], Teacher]] = {
    MarianHf: marian_hf_weights.read,
    Fairseq: fairseq_weights.read,
    MarianNpz: marian_npz_weights.read,
    ModelDirectory: _of_ours,
}
_DIFFERENCE: dict[type[Source], Callable[[Any, Path], float | None]] = {
    MarianHf: marian_hf_probe.difference,
}
