"""Which maps a class goes through, and which classes share one."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from wd.config import GroupingConfig, ModelConfig
from wd.config.generation import Part
from wd.errors import ConfigError
from wd.generator.grouping import WeightClass, weight_classes


@dataclass(frozen=True)
class MapKeys:
    """Which maps a class goes through; None: none along that axis."""

    layer: str | None = None
    output: str | None = None
    input: str | None = None


def choice(weights: WeightClass, grouping: GroupingConfig) -> Part:
    """Return how a class comes about: generated, copied or fresh."""
    return "generated" if weights.part is None else getattr(grouping, weights.part)


def check_generable(
    teacher: ModelConfig, student: ModelConfig, grouping: GroupingConfig
) -> list[WeightClass]:
    """Return the classes of a student that can be generated.

    Raises ConfigError with the reason if it cannot be, before anything is trained for it.
    """
    classes = weight_classes(teacher, student, grouping)
    for each in classes:
        if choice(each, grouping) == "copied" and each.teacher_shape != each.student_shape:
            raise ConfigError(
                f"grouping.{each.part}: {each.name} cannot be copied: it is "
                f"{list(each.teacher_shape)} in the teacher and {list(each.student_shape)} in the "
                "student; generate it, or start it fresh"
            )
    return classes


def map_keys(weights: WeightClass, grouping: GroupingConfig) -> MapKeys:
    """Return the keys of a class' maps; classes with one key share one map.

    Matrices have all maps, embeddings [vocabulary, width] no vocabulary map, vectors no input
    map; a bias goes through the output map of the weight that it belongs to. Which axes that keep
    their width have one is `grouping.width_maps`' choice.
    """
    if choice(weights, grouping) != "generated":
        return MapKeys()
    if weights.agrees and grouping.width_maps != "all":
        return MapKeys()
    if grouping.sharing == "stack":
        layer, axes = weights.stack, tuple(axis.replace(".", "/") for axis in weights.axes)
    else:
        layer, axes = weights.key, (f"{_producer(weights)}/output", f"{weights.key}/input")
    if weights.kind == "gain":  # a gain's axis is a basis' square, so it is shared with none
        axes = (f"{weights.key}/output",)
    mapped = _mapped_axes(weights, grouping.width_maps)
    return MapKeys(
        layer=layer if max(weights.subsets) > 1 else None,
        output=axes[0] if mapped[0] and weights.kind != "embedding" else None,
        input=axes[1] if len(weights.axes) == 2 and mapped[1] else None,
    )


def _producer(weights: WeightClass) -> str:
    """Return the key of the weight whose outputs a bias is added to, else the class's own."""
    return weights.key.removesuffix("bias") + "weight" if weights.part == "biases" else weights.key


def _mapped_axes(weights: WeightClass, chosen: str) -> list[bool]:
    """Return whether there is a width map along each axis, in the order of the weight's shape."""

    def has_map(axis: str, old: int, new: int) -> bool:
        if old != new or chosen in ("changed_classes", "all"):
            return True
        return chosen == "mixing_axes" and not axis.endswith(".inner")

    axes = zip(weights.axes, weights.teacher_shape, weights.student_shape, strict=True)
    return [has_map(*each) for each in axes]


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


def has_learned_gate(weights: WeightClass, grouping: GroupingConfig) -> bool:
    """Whether the class's W is learned."""
    return grouping.learned_gates == "all" or weights.kind in ("gain", "vector")


def is_linear(weights: WeightClass, grouping: GroupingConfig) -> bool:
    """Whether a class is only mapped: no tanh, no W and B."""
    return (
        weights.name == "output_projection.weight"
        and grouping.output_projection == "linear"
        and not weights.agrees
    )


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
