"""Where the generator's parameters start."""

import torch
from torch import Tensor, nn

SMALL = 1e-3
"""Below this |T|, T / tanh(T) is taken from its series, since 0 / 0 is undefined."""


def width_map(rows: int, columns: int, choice: str) -> Tensor:
    """Return a width map [rows, columns]: teacher width to student width.

    `xavier` is random, `identity` keeps the first channels, `auto` is the identity where the
    width stays and random where it changes.
    """
    if choice == "identity" or (choice == "auto" and rows == columns):
        return torch.eye(rows, columns)
    return nn.init.xavier_normal_(torch.empty(rows, columns))


def gate(t: Tensor, choice: str) -> Tensor:
    """Return the start of W for the transformed weights T, of T's shape.

    `reference`: ones. `exact`: T / tanh(T), so that tanh(T) * W + 0 is T.
    """
    if choice == "reference":
        return torch.ones_like(t)
    return torch.where(t.abs() < SMALL, 1 + t.square() / 3, t / t.tanh())
