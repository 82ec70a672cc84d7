"""Products of the maps, for one class or for several that are alike."""

import torch
from torch import Tensor


def product(one: Tensor, other: Tensor) -> Tensor:
    """Multiply two matrices, or N pairs [N, ., .]; a single pair's gradients need no copies."""
    if one.dim() == 2:
        return one @ other
    if len(one) > 1:
        return torch.bmm(one, other)
    return (one.squeeze(0) @ other.squeeze(0)).unsqueeze(0)


def mix_layers(mixing: Tensor, instances: Tensor) -> Tensor:
    """Return teacher instances [L, ...] mixed by [S, L] into [S, ...], in one plain product.

    Both may begin with an axis of N classes.
    """
    first = mixing.dim() - 1
    made = product(mixing, instances.flatten(first))
    return made.unflatten(first, instances.shape[first:])
