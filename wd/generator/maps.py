"""All maps of a generator, each held once, whichever classes share it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from wd.config import GeneratorConfig, ModelConfig
from wd.generator.choices import map_keys
from wd.generator.grouping import WeightClass
from wd.generator.initialisation import WidthStart
from wd.generator.layer_map import LayerMap, mixing_matrices
from wd.generator.products import mix_layers
from wd.model.rounding import rounded


class Maps(NamedTuple):
    """The maps that transformations look up by key."""

    layers: Mapping[str, Tensor]
    """Mixing matrices [S, L]."""
    widths: Mapping[str, Tensor]
    """[C, teacher width, student width]."""


class StepMaps(NamedTuple):
    """The same maps twice."""

    rounded: Maps
    """As products under autocast take them."""
    exact: Maps
    """In their own precision."""


class MapSet(nn.Module):
    """Layer maps and width maps by key; `keys` tells which ones a class goes through.

    A map that is not to be learned is a parameter without gradient: it is in checkpoints, since
    a random one could not be made again, but no optimiser sees it.
    """

    def __init__(
        self,
        classes: Sequence[WeightClass],
        instances: Mapping[str, Tensor],
        teacher: ModelConfig,
        student: ModelConfig,
        config: GeneratorConfig,
    ) -> None:
        """Build all maps at their start; `instances`: class name -> its teacher's [L, ...]."""
        super().__init__()
        self._learned = config.grouping.learned_maps
        self._per_subset = config.grouping.sharing == "subset"
        self.keys = {each.name: map_keys(each, config.grouping) for each in classes}
        self._multiplied = {
            key for each in classes if len(each.axes) == 2 for key in self.keys[each.name]
        }
        self.layer_maps = nn.ModuleDict()
        self.width_maps = nn.ParameterDict()
        for each in classes:
            key = self.keys[each.name].layer
            if key is not None and key not in self.layer_maps:
                learned = "layer" in self._learned
                self.layer_maps[key] = layer_map(each, config).requires_grad_(learned)
        mixed = {each.name: self._mixed(each, instances[each.name]) for each in classes}
        chosen = config.initialisation.maps
        if chosen == "svd" and config.grouping.sharing == "stack":
            chosen = "axis"  # the best projection of all the weights that share a map
        start = WidthStart(chosen, classes, mixed, teacher, student)
        for each in classes:
            self._add_width_maps(each, start)

    def by_key(self) -> StepMaps:
        """Return the maps that transformations look up, rounded once for all that share them."""
        layer_maps = cast(Mapping[str, LayerMap], self.layer_maps)
        exact = Maps(mixing_matrices(layer_maps), dict(self.width_maps.items()))
        both = rounded(
            {
                (kind, key): maps[key]
                for kind, maps in exact._asdict().items()
                for key in maps
                if key in self._multiplied
            }
        )
        layers, widths = (
            {key: value for (kind, key), value in both.items() if kind == wanted}
            for wanted in Maps._fields
        )
        return StepMaps(Maps(layers, widths), exact)

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
    def _mixed(self, each: WeightClass, instances: Tensor) -> Tensor:
        """Return the class's teacher instances after its layer map: [S, ...], else [L, ...]."""
        key = self.keys[each.name].layer
        return instances if key is None else mix_layers(self.layer_maps[key](), instances)


def layer_map(each: WeightClass, config: GeneratorConfig) -> LayerMap:
    """Return a class's layer map at its start."""
    return LayerMap(
        each.subsets,
        shared=config.grouping.sharing != "subset",
        start=config.initialisation.layers,
        factored=config.grouping.layer_map == "factored",
    )
