"""The generator's maps, each held once, whoever shares it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from wd.config import GroupingConfig
from wd.generator.grouping import WeightClass, subset_bounds


@dataclass(frozen=True)
class MapKeys:
    """Which maps a class goes through; None: none along that axis."""

    layer: str | None = None
    output: str | None = None
    input: str | None = None


def map_keys(weights: WeightClass, grouping: GroupingConfig) -> MapKeys:
    """Return the keys of a class' maps; classes with one key share one map.

    Matrices have all maps, embeddings [vocabulary, width] no vocabulary map, vectors no input
    map; where shape and depth agree there are none, unless `grouping.same_shape` asks for them.
    """
    if weights.agrees and grouping.same_shape == "elementwise":
        return MapKeys()
    if grouping.sharing == "stack":
        layer, axes = weights.stack, tuple(axis.replace(".", "/") for axis in weights.axes)
    else:
        layer, axes = weights.key, (f"{weights.key}/output", f"{weights.key}/input")
    if weights.kind == "gain":  # a gain's axis is a basis' square, so it is shared with none
        axes = (f"{weights.key}/output",)
    return MapKeys(
        layer=layer if max(weights.subsets) > 1 else None,
        output=None if weights.kind == "embedding" else axes[0],
        input=axes[1] if len(weights.axes) == 2 else None,
    )


class LayerMap(nn.Module):
    """W_L: how the teacher layers of each subset are mixed.

    Shared: one mix per subset size; otherwise one per subset. `factored` puts a K x K map before
    each K x 1, as the paper's published code does; the function is the same.
    """

    def __init__(
        self, subsets: tuple[int, ...], *, shared: bool, start: str, factored: bool
    ) -> None:
        """`start`: mean, first, middle or last layer of the subset."""
        super().__init__()
        self._bounds = subset_bounds(subsets)
        keys = list(subsets) if shared else list(range(len(subsets)))
        distinct = list(dict.fromkeys(keys))
        self._mix_of = [distinct.index(key) for key in keys]
        sizes = [subsets[keys.index(key)] for key in distinct]
        self.mixes = nn.ParameterList(_mix(size, start) for size in sizes)
        self.squares = nn.ParameterList(_square(size, start) for size in sizes if factored)

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


def _mix(size: int, start: str) -> nn.Parameter:
    if start == "mean":
        return nn.Parameter(torch.full((size,), 1 / size))
    layer = {"first": 0, "middle": (size - 1) // 2, "last": size - 1}[start]
    return nn.Parameter(torch.eye(size)[layer])


def _square(size: int, start: str) -> nn.Parameter:
    return nn.Parameter(torch.full((size, size), 1 / size) if start == "mean" else torch.eye(size))
