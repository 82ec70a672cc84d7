"""W_L, the map over the layers of a subset."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from wd.generator.grouping import subset_bounds


class LayerMap(nn.Module):
    """W_L: how the teacher layers of each subset are mixed.

    Shared: one mix per subset size; otherwise one per subset. `factored` puts a K x K map before
    each K x 1, as the paper's published code does; the function is the same.
    """

    def __init__(
        self, subsets: tuple[int, ...], *, shared: bool, start: str, factored: bool
    ) -> None:
        """`start`: mean, first, middle or last layer of the subset, or spread."""
        super().__init__()
        self._bounds = subset_bounds(subsets)
        keys = list(subsets) if shared else list(range(len(subsets)))
        distinct = list(dict.fromkeys(keys))
        self._mix_of = [distinct.index(key) for key in keys]
        firsts = [keys.index(key) for key in distinct]
        mixes = [_mix(subsets[one], start, one, len(subsets)) for one in firsts]
        self.mixes = nn.ParameterList(mixes)
        self.squares = nn.ParameterList(_square(len(mix), start) for mix in mixes if factored)

    def forward(self) -> Tensor:
        """Return the mixing matrix [S, L]: zero outside each subset."""
        mixes: Sequence[Tensor] = list(self.mixes)
        if self.squares:
            mixes = [square @ mix for square, mix in zip(self.squares, mixes, strict=True)]
        layers = self._bounds[-1][1]
        rows = zip(self._mix_of, self._bounds, strict=True)
        return torch.stack(
            [functional.pad(mixes[mix], (first, layers - end)) for mix, (first, end) in rows]
        )


def mix_layers(mixing: Tensor, instances: Tensor) -> Tensor:
    """Return teacher instances [L, ...] mixed by [S, L] into [S, ...], in one plain product."""
    return (mixing @ instances.flatten(1)).unflatten(1, instances.shape[1:])


def _mix(size: int, start: str, subset: int, subsets: int) -> nn.Parameter:
    if start == "mean":
        return nn.Parameter(torch.full((size,), 1 / size))
    last = size - 1
    spread = round(last * subset / (subsets - 1)) if subsets > 1 else last
    layer = {"first": 0, "middle": last // 2, "last": last, "spread": spread}[start]
    return nn.Parameter(torch.eye(size)[layer])


def _square(size: int, start: str) -> nn.Parameter:
    return nn.Parameter(torch.full((size, size), 1 / size) if start == "mean" else torch.eye(size))
