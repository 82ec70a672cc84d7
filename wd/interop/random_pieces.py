"""Sentences of random pieces, for models of whose language nothing is known."""

import random

import torch
from torch import Tensor

from wd.data.schema import EOS, PAD

SENTENCES, PIECES = 8, 24
"""As many sentences, and pieces of each at most; some are shorter."""


def drawn(draw: random.Random, vocabulary: int) -> list[int]:
    """Return a random sentence in our ids, EOS at its end."""
    length = draw.randrange(PIECES // 4, PIECES)
    return [*(draw.randrange(EOS + 1, vocabulary) for _ in range(length)), EOS]


def padded(rows: list[list[int]], pad: int = PAD) -> Tensor:
    """Return rows of ids as one tensor."""
    longest = max(map(len, rows))
    return torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
