"""What a grouping chooses for each class: how it comes about, its maps, who shares them."""

from typing import NamedTuple

from wd.config import GroupingConfig, ModelConfig
from wd.config.generation import Part
from wd.errors import ConfigError
from wd.generator.grouping import WeightClass, weight_classes, weight_of
from wd.model.sizes import OUTPUT_BIAS


class MapKeys(NamedTuple):
    """Which maps a class goes through; None: none along that axis."""

    layer: str | None = None
    output: str | None = None
    input: str | None = None


def choice(weights: WeightClass, grouping: GroupingConfig) -> Part:
    """Return how a class comes about: generated, copied or fresh.

    The words' bias has no width to map, and a tanh would let words through that it forbids.
    """
    chosen: Part = "generated" if weights.part is None else getattr(grouping, weights.part)
    return "copied" if weights.name == OUTPUT_BIAS and chosen == "generated" else chosen


def check_generable(teacher: ModelConfig, student: ModelConfig, grouping: GroupingConfig) -> None:
    """Raise ConfigError as `generable_classes` does, before anything is trained for a student."""
    generable_classes(teacher, student, grouping)


def generable_classes(
    teacher: ModelConfig, student: ModelConfig, grouping: GroupingConfig
) -> list[WeightClass]:
    """Return the classes of a student that can be generated.

    Raises ConfigError with the reason if it cannot be.
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
        producer = weight_of(weights.name).replace(".", "/")
        layer, axes = weights.key, (f"{producer}/output", f"{weights.key}/input")
    if weights.kind == "gain":  # a gain's axis is a basis' square, so it is shared with none
        axes = (f"{weights.key}/output",)
    mapped = _mapped_axes(weights, grouping.width_maps)
    return MapKeys(
        layer=layer if max(weights.subsets) > 1 else None,
        output=axes[0] if mapped[0] and weights.kind != "embedding" else None,
        input=axes[1] if len(weights.axes) == 2 and mapped[1] else None,
    )


def _mapped_axes(weights: WeightClass, chosen: str) -> list[bool]:
    """Return whether there is a width map along each axis, in the order of the weight's shape."""

    def has_map(axis: str, old: int, new: int) -> bool:
        if old != new or chosen in ("changed_classes", "all"):
            return True
        return chosen == "mixing_axes" and not axis.endswith(".inner")

    axes = zip(weights.axes, weights.teacher_shape, weights.student_shape, strict=True)
    return [has_map(*each) for each in axes]


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
