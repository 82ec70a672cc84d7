"""Batches of random pieces that are shaped like real ones: sorted by length, padded little.

Lengths are log-normal, as in news text: 25 source pieces on average, 100 at most.
Shapes: B sentences, S source and T target positions.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from wd.config import SPECIAL_PIECES, ModelConfig
from wd.data.batches import Batch
from wd.data.schema import BOS, EOS, PAD
from wd.data.shards import pack


def write_batches(path: Path, model: ModelConfig, tokens: int, count: int) -> int:
    """Write `count` batches of at most `tokens` a side; return how many target pieces they hold.

    The .npz file has `source_I` [B, S], `target_in_I` and `target_I` [B, T], int64, of batch I.
    """
    random = np.random.default_rng(1)
    pairs = count * tokens // 2  # about ten times as many as are taken
    source = np.exp(random.normal(3.05, 0.6, pairs))
    target = source * np.exp(random.normal(0.0, 0.15, pairs))
    lengths = np.stack([source, target]).round().astype(int).clip(2, 100)
    longest = lengths.max(0)
    order = np.lexsort((*lengths, longest))
    ranges = pack(longest[order], tokens)[:-1]
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    total = 0
    for index, place in enumerate(random.choice(len(ranges), count, replace=False)):
        rows = order[slice(*ranges[place])]
        source_BS = _sentences(random, lengths[0, rows], model.source_vocabulary)
        target_BT = _sentences(random, lengths[1, rows], model.target_vocabulary)
        begin = np.full((len(rows), 1), BOS)
        arrays[f"source_{index}"] = source_BS
        arrays[f"target_in_{index}"] = np.concatenate([begin, target_BT[:, :-1]], 1)
        arrays[f"target_{index}"] = target_BT
        total += int(lengths[1, rows].sum())
    np.savez(path, allow_pickle=False, **arrays)
    return total


def read_batches(path: Path) -> list[Batch]:
    """Return the batches of such a file, on the CPU."""
    sides = ("source", "target_in", "target")
    with np.load(path) as file:
        return [
            Batch(*(torch.from_numpy(file[f"{side}_{index}"]) for side in sides))
            for index in range(len(file.files) // len(sides))
        ]


def _sentences(
    random: np.random.Generator, lengths: np.ndarray[Any, Any], vocabulary: int
) -> np.ndarray[Any, Any]:
    """Return int64 [B, longest]: pieces, then EOS, then PAD."""
    places = np.arange(lengths.max())
    ids = random.integers(len(SPECIAL_PIECES), vocabulary, (len(lengths), lengths.max()))
    ids[places == lengths[:, None] - 1] = EOS
    ids[places >= lengths[:, None]] = PAD
    return ids
