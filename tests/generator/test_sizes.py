"""Sizes that are told without building a generator are those of the built one."""

from collections.abc import Callable
from itertools import product

import pytest

from wd.config import GroupingConfig
from wd.generator.generator import ParameterGenerator
from wd.generator.sizes import frozen_bytes, map_sizes, own_parameters


@pytest.mark.parametrize("student", ["tiny", "uneven", "both", "thin"])
def test_sizes_are_the_generators(build: Callable[..., ParameterGenerator], student: str) -> None:
    for sharing, layer_map, part, width_maps, gates in product(
        ("class", "subset", "stack"),
        ("plain", "factored"),
        ("generated", "fresh"),
        ("changed_axes", "mixing_axes", "changed_classes", "all"),
        ("vectors", "all"),
    ):
        choices = {"sharing": sharing, "layer_map": layer_map, "norms": part}
        choices["width_maps"], choices["learned_gates"] = width_maps, gates
        choices["output_projection"] = "linear"
        generator = build(student, choices)
        grouping = GroupingConfig.model_validate(choices)
        for each in generator.classes:
            own = generator.parts[each.key].parameters()
            count = sum(one.numel() for one in own if one.requires_grad)
            assert own_parameters(each, grouping) == count
        sizes = {each.key: each.parameters for each in map_sizes(generator.classes, grouping)}
        found = {key: width.numel() for key, width in generator.maps.width_maps.items()}
        for key, layer_map in generator.maps.layer_maps.items():
            found[key] = sum(one.numel() for one in layer_map.parameters())
        assert sizes == found
        held = dict(generator.named_buffers())
        rounded = sum(
            each.nbytes // 2
            for name, each in held.items()
            if name.endswith(".teacher") and each.dim() == 3
        )
        frozen = sum(each.nbytes for each in held.values()) + rounded
        assert frozen_bytes(generator.classes, grouping) == frozen
