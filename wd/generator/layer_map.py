"""W_L, the map over the layers of a subset."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional

from wd.generator.grouping import subset_bounds
from wd.model.paths import takes_gpu_path

Layout = tuple[tuple[tuple[int, int], ...], int]


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

    @property
    def layout(self) -> Layout:
        """For each student layer, its mix and the first teacher layer that it covers; and L."""
        firsts = tuple(first for first, _ in self._bounds)
        return tuple(zip(self._mix_of, firsts, strict=True)), self._bounds[-1][1]

    def learned(self) -> Sequence[Tensor]:
        """Return the mixes, each [K]."""
        mixes: Sequence[Tensor] = list(self.mixes)
        if self.squares:
            return [square @ mix for square, mix in zip(self.squares, mixes, strict=True)]
        return mixes

    def forward(self) -> Tensor:
        """Return the mixing matrix [S, L]: zero outside each subset."""
        mixes, (rows, layers) = self.learned(), self.layout
        return torch.stack(
            [
                functional.pad(mixes[mix], (first, layers - first - len(mixes[mix])))
                for mix, first in rows
            ]
        )


def mixing_matrices(maps: Mapping[str, LayerMap]) -> dict[str, Tensor]:
    """Return the mixing matrix [S, L] of every layer map; on a GPU, all in one product."""
    if not maps:
        return {}
    device = next(iter(maps.values())).mixes[0].device
    with torch.autocast(device.type, enabled=False):
        return _mixing_matrices(maps)


def _mixing_matrices(maps: Mapping[str, LayerMap]) -> dict[str, Tensor]:
    if not takes_gpu_path(next(iter(maps.values())).mixes[0]):
        return {key: each() for key, each in maps.items()}
    mixes = [each.learned() for each in maps.values()]
    layouts = tuple(each.layout for each in maps.values())
    sizes = tuple(tuple(map(len, each)) for each in mixes)
    flat = torch.cat([mix for each in mixes for mix in each])
    placed = flat @ _places(layouts, sizes, flat.dtype, flat.device)
    shapes = [(len(rows), layers) for rows, layers in layouts]
    parts = placed.split([rows * layers for rows, layers in shapes])
    return {key: part.view(shape) for key, part, shape in zip(maps, parts, shapes, strict=True)}


@lru_cache(4)
def _places(
    layouts: tuple[Layout, ...],
    sizes: tuple[tuple[int, ...], ...],
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Return ones where an entry of the mixes [N] stands in the mixing matrices, [N, all S * L]."""
    total = sum(len(rows) * layers for rows, layers in layouts)
    places = torch.zeros(sum(map(sum, sizes)), total, dtype=dtype)
    entry, matrix = 0, 0
    for (rows, layers), own in zip(layouts, sizes, strict=True):
        starts = list(accumulate(own, initial=entry))
        for row, (mix, first) in enumerate(rows):
            for one in range(own[mix]):
                places[starts[mix] + one, matrix + row * layers + first + one] = 1
        entry, matrix = starts[-1], matrix + len(rows) * layers
    return places.to(device)


def _mix(size: int, start: str, subset: int, subsets: int) -> nn.Parameter:
    if start == "mean":
        return nn.Parameter(torch.full((size,), 1 / size))
    last = size - 1
    spread = round(last * subset / (subsets - 1)) if subsets > 1 else last
    layer = {"first": 0, "middle": last // 2, "last": last, "spread": spread}[start]
    return nn.Parameter(torch.eye(size)[layer])


def _square(size: int, start: str) -> nn.Parameter:
    return nn.Parameter(torch.full((size, size), 1 / size) if start == "mean" else torch.eye(size))
