"""How many parameters a generator has, and where, without building it (no torch needed)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from wd.config import GroupingConfig
from wd.generator.choices import MapKeys, choice, has_learned_gate, is_linear, map_keys
from wd.generator.grouping import WeightClass


@dataclass(frozen=True)
class MapSize:
    """One map, its shape, and how many classes go through it."""

    key: str
    shape: tuple[int, ...]
    """[C, A, a] of a width map, with C copies; the mixes' sizes of a layer map."""
    parameters: int
    """That are learned: 0 of a map that stays as it starts."""
    users: int


def own_parameters(weights: WeightClass, grouping: GroupingConfig) -> int:
    """Return the learned parameters that belong to a class alone.

    B, and W if it is learned, of what is mapped; otherwise one for each weight.
    """
    count = len(weights.student) * prod(weights.student_shape)
    if map_keys(weights, grouping) == MapKeys():
        return count
    if is_linear(weights, grouping):
        return 0
    return 2 * count if has_learned_gate(weights, grouping) else count


def map_sizes(classes: Sequence[WeightClass], grouping: GroupingConfig) -> list[MapSize]:
    """Return every map of a generator once, layer maps first."""
    shapes: dict[str, tuple[int, ...]] = {}
    parameters: dict[str, int] = {}
    users: list[str] = []
    learned: set[str | None] = set()
    for each in classes:
        keys = map_keys(each, grouping)
        if keys.layer is not None:
            mixes = each.subsets if grouping.sharing == "subset" else tuple(set(each.subsets))
            shapes[keys.layer] = mixes
            squares = sum(size * size for size in mixes) if grouping.layer_map == "factored" else 0
            parameters[keys.layer] = sum(mixes) + squares
        copies = len(each.subsets) if grouping.sharing == "subset" else 1
        for key, dimension in ((keys.output, 0), (keys.input, -1)):
            if key is not None:
                widths = each.teacher_shape[dimension], each.student_shape[dimension]
                shapes[key] = (copies, *widths)
                parameters[key] = prod(shapes[key])
        users += filter(None, (keys.layer, keys.output, keys.input))
        learned |= {getattr(keys, role) for role in grouping.learned_maps}
    return [
        MapSize(key, shape, parameters[key] if key in learned else 0, users.count(key))
        for key, shape in shapes.items()
    ]


def frozen_bytes(classes: Sequence[WeightClass], grouping: GroupingConfig) -> int:
    """Return the bytes of the teacher's weights that a generator holds, on a GPU.

    Of what is mapped, float32 instances and, of matrices, bfloat16 copies that products take; of
    what has a learned W but no map, a float32 scale per weight.
    """
    held = 0
    for each in classes:
        count = len(each.teacher) * prod(each.teacher_shape)
        if choice(each, grouping) != "generated":
            continue
        if map_keys(each, grouping) == MapKeys():
            held += 4 * count if has_learned_gate(each, grouping) else 0
        else:
            held += (6 if len(each.teacher_shape) == 2 else 4) * count
    return held
