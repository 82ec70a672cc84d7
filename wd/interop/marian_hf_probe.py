"""Whether an imported MarianMT model computes what transformers computes."""

import random
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wd.data.schema import BOS, EOS, PAD
from wd.interop.marian_hf import MarianHf
from wd.interop.random_pieces import SENTENCES, drawn, padded
from wd.interop.vocabulary import Vocabulary
from wd.model.directory import load_transformer


def difference(source: MarianHf, made: Path) -> float | None:
    """Return the largest difference of logits; None if transformers is not installed."""
    if find_spec("transformers") is None:
        return None
    theirs = in_transformers(source)
    ours = load_transformer(made)
    from_, to = source.vocabularies
    draw = random.Random(1)
    sources = [drawn(draw, len(from_.rows)) for _ in range(SENTENCES)]
    targets = [drawn(draw, len(to.rows)) for _ in range(SENTENCES)]
    with torch.inference_mode():
        logits = ours(padded(sources), padded([[BOS, *row[:-1]] for row in targets]))
        goal = _their_logits(theirs, source, sources, targets)
    inside = padded(targets) != PAD
    said = torch.tensor(to.rows[EOS + 1 :])
    gap = logits[..., EOS + 1 :] - goal[..., said]
    return float(gap[inside].abs().max())


def in_transformers(source: MarianHf) -> Any:
    """Return the source's model as transformers loads it, in evaluation mode."""
    from transformers import MarianMTModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    return MarianMTModel.from_pretrained(
        source.place, local_files_only=True, torch_dtype=torch.float32
    ).eval()


def _their_logits(
    model: Any, source: MarianHf, sources: list[list[int]], targets: list[list[int]]
) -> Tensor:
    from_, to = source.vocabularies
    ids = [[_foreign(piece, from_) for piece in row] for row in sources]
    shifted = [
        [source.settings.decoder_start_token_id, *(_foreign(piece, to) for piece in row[:-1])]
        for row in targets
    ]
    pad = source.settings.pad_token_id
    logits: Tensor = model(
        input_ids=padded(ids, pad),
        attention_mask=(padded(sources) != PAD).long(),
        decoder_input_ids=padded(shifted, pad),
    ).logits
    return logits


def _foreign(piece: int, vocabulary: Vocabulary) -> int:
    row = vocabulary.rows[piece]
    assert row is not None
    return row
