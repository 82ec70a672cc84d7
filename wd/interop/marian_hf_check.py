"""Whether an exported MarianMT folder is, in transformers, the model that it was made from."""

import random
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch

from wd.data.tokenizer import Tokenizer
from wd.errors import ArtifactError
from wd.interop.importing import CLOSE
from wd.interop.marian_hf import MarianHf
from wd.interop.marian_hf_probe import difference, in_transformers
from wd.interop.random_pieces import PIECES, SENTENCES, drawn, padded


def check_marian_hf(model: Path, exported: Path) -> dict[str, Any]:
    """Compare a folder with the model directory that it was made from; return figures.

    `difference` is the largest one of logits on random pieces; None, and no speed, where
    transformers is not installed. Raises ArtifactError if it is above `CLOSE`.
    """
    tag = Tokenizer.load(model).tag
    source = MarianHf(exported, tag and tag.strip("><"))
    found = difference(source, model)
    if found is None:
        return {"probe": "random pieces", "difference": None}
    if not found < CLOSE:
        raise ArtifactError(
            f"the export does not compute what the model does: logits differ by {found:.3g}, and "
            f"{CLOSE:g} are allowed; nothing was written"
        )
    return {"probe": "random pieces", "difference": found, **_speed(source)}


def _speed(source: MarianHf) -> dict[str, float]:
    """Return how fast `generate` says as many pieces as the probe has, greedily."""
    model, draw = in_transformers(source), random.Random(1)
    pieces = source.config.source_vocabulary
    ids = padded([drawn(draw, pieces) for _ in range(SENTENCES)])

    def decode(count: int) -> float:
        started = perf_counter()
        model.generate(
            input_ids=ids[:count],
            attention_mask=(ids[:count] != source.settings.pad_token_id).long(),
            **{"num_beams": 1, "min_new_tokens": PIECES, "max_new_tokens": PIECES},
        )
        return perf_counter() - started

    with torch.inference_mode():
        alone = median(decode(1) for _ in range(3))
        return {"sentences_per_second": SENTENCES / decode(SENTENCES), "milliseconds": 1000 * alone}
