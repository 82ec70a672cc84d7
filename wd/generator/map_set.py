"""All maps of a generator, each held once, whichever classes share it."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from wd.config import GeneratorConfig, ModelConfig
from wd.generator.grouping import WeightClass
from wd.generator.initialisation import WidthStart
from wd.generator.layer_map import LayerMap, mix_layers
from wd.generator.sharing import map_keys
from wd.generator.transform import Maps, product_dtype


class MapSet(nn.Module):
    """Layer maps and width maps by key; `keys` tells which ones a class goes through.

    A map that is not to be learned is a parameter without gradient: it is in checkpoints, since
    a random one could not be made again, but no optimiser sees it.
    """

    def __init__(
        self,
        classes: Sequence[WeightClass],
        weights: Mapping[str, Tensor],
        teacher: ModelConfig,
        student: ModelConfig,
        config: GeneratorConfig,
    ) -> None:
        super().__init__()
        self._learned = config.grouping.learned_maps
        self._per_subset = config.grouping.sharing == "subset"
        self.keys = {each.name: map_keys(each, config.grouping) for each in classes}
        self.layer_maps = nn.ModuleDict()
        self.width_maps = nn.ParameterDict()
        for each in classes:
            self._add_layer_map(each, config)
        mixed = {each.name: self._mixed(each, weights) for each in classes}
        chosen = config.initialisation.maps
        if chosen == "svd" and config.grouping.sharing == "stack":
            chosen = "axis"  # the best projection of all the weights that share a map
        start = WidthStart(chosen, classes, mixed, teacher, student)
        for each in classes:
            self._add_width_maps(each, start)

    def by_key(self) -> Maps:
        """Return the maps that transformations look up, rounded once for all that share them."""
        widths = {key: maps.to(product_dtype(maps)) for key, maps in self.width_maps.items()}
        return Maps(dict(self.layer_maps.items()), widths)

    def _add_layer_map(self, each: WeightClass, config: GeneratorConfig) -> None:
        key = self.keys[each.name].layer
        if key is None or key in self.layer_maps:
            return
        self.layer_maps[key] = LayerMap(
            each.subsets,
            shared=not self._per_subset,
            start=config.initialisation.layers,
            factored=config.grouping.layer_map == "factored",
        ).requires_grad_("layer" in self._learned)

    def _add_width_maps(self, each: WeightClass, start: WidthStart) -> None:
        keys = self.keys[each.name]
        last = len(each.axes) - 1
        for role, key, dimension in (("output", keys.output, 0), ("input", keys.input, last)):
            if key is None:
                continue
            if key not in self.width_maps:
                copies = len(each.subsets) if self._per_subset else 1
                maps = torch.stack([start(each, dimension) for _ in range(copies)])
                self.width_maps[key] = nn.Parameter(maps, requires_grad=False)
            if role in self._learned:  # along a shared axis, one user that learns is enough
                self.width_maps[key].requires_grad_()

    @torch.no_grad()
    def _mixed(self, each: WeightClass, weights: Mapping[str, Tensor]) -> Tensor:
        """Return the class's teacher instances after its layer map: [S, ...], else [L, ...]."""
        instances = torch.stack([weights[name] for name in each.teacher])
        key = self.keys[each.name].layer
        return instances if key is None else mix_layers(self.layer_maps[key](), instances)
