"""A generator's classes side by side, for a GPU: there a small operation costs as much as a big one.

What a class alone does stands in `transform`; here the same functions get many classes at once.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

from torch import Tensor, nn

from wd.generator.grouping import WeightClass
from wd.generator.maps import StepMaps
from wd.generator.transform import Alike, Elementwise, Gated, Transformation, gated, scaled

Item = TypeVar("Item")
Named = tuple[WeightClass, nn.Module]


class Together:
    """Makes the student's weights in as few operations as they take."""

    def __init__(self, classes: Sequence[WeightClass], parts: Sequence[nn.Module]) -> None:
        self._gated: list[list[tuple[WeightClass, Gated]]] = []
        self._scaled: list[tuple[WeightClass, Elementwise]] = []
        self._alone: list[Named] = []
        mapped: list[tuple[WeightClass, Gated]] = []
        for each, part in zip(classes, parts, strict=True):
            if isinstance(part, Gated):
                mapped.append((each, part))
            elif isinstance(part, Elementwise) and part.scale is not None:
                self._scaled.append((each, part))
            else:
                self._alone.append((each, part))
        self._gated = _sorted_apart(mapped, _steps)
        self._alike = [Alike([part for _, part in family]) for family in self._gated]

    def materialize(self, maps: StepMaps) -> dict[str, Tensor]:
        """Return the student's weights, named as in its state dict; differentiable."""
        student: dict[str, Tensor] = {}
        made = [(family, alike.mapped(maps)) for family, alike in zip(self._gated, self._alike)]
        for families in _sorted_apart(made, _formula):
            named = [each for family, _ in families for each in family]
            instances = gated([part for _, part in named], [t for _, t in families])
            _put(student, named, instances)
        if self._scaled:
            _put(student, self._scaled, scaled([part for _, part in self._scaled]))
        _put(student, self._alone, [part(maps) for _, part in self._alone])
        return student


def _steps(named: tuple[WeightClass, Transformation]) -> Hashable:
    """Return what classes have in common whose T can be made at once."""
    each, part = named
    table = each.name if each.kind == "embedding" else None
    has_map = tuple(key is not None for key in (part.keys.layer, part.keys.output, part.keys.input))
    shapes = part.teacher.shape, len(each.student), each.student_shape
    return table, has_map, shapes, part.input_first


def _formula(made: tuple[list[tuple[WeightClass, Gated]], Tensor]) -> Hashable:
    """Return what families have in common whose S can be made at once."""
    family, t = made
    gate = family[0][1].gate
    return t.dtype, gate is None, gate is not None and gate.requires_grad


def _sorted_apart(items: Iterable[Item], key: Callable[[Item], Hashable]) -> list[list[Item]]:
    """Return items with one key together, keys and items in their first order."""
    found: dict[Hashable, list[Item]] = {}
    for each in items:
        found.setdefault(key(each), []).append(each)
    return list(found.values())


def _put(
    student: dict[str, Tensor],
    named: Sequence[tuple[WeightClass, nn.Module]],
    instances: Sequence[Sequence[Tensor]],
) -> None:
    for (each, _), made in zip(named, instances, strict=True):
        student.update(zip(each.student, made, strict=True))
