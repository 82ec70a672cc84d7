"""A generator's classes side by side, for a GPU: there a small operation costs as a big one.

What becomes of a class stands in `transform`; here the same functions get many classes at once.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, nn

from wd.generator.grouping import WeightClass
from wd.generator.mapping import Role
from wd.generator.maps import StepMaps
from wd.generator.transform import Alike, Elementwise, Gated, gated, scaled

Item = TypeVar("Item")


@dataclass(frozen=True)
class _Member:
    """A class and its part, as they stand beside others."""

    weights: WeightClass
    part: Gated
    first: Role
    shapes: tuple[Hashable, Hashable]
    """Of its first and its second width map."""

    @classmethod
    def of(cls, weights: WeightClass, part: Gated, maps: StepMaps) -> "_Member":
        """Decide on a class's order: to the outputs first, where that costs no more."""
        first: Role = "input" if part.input_gain(maps) > 0 else "output"
        shapes = [
            key and maps.exact.widths[key].shape for key in (part.keys.output, part.keys.input)
        ]
        one, other = shapes if first == "output" else shapes[::-1]
        return cls(weights, part, first, (one, other))

    @property
    def family(self) -> Hashable:
        """What classes have in common whose T are made at once."""
        layer, subsets = self.part.keys.layer is not None, len(self.weights.student)
        return self.part.teacher.shape, subsets, layer, self.first, self.shapes[0]


class _Family:
    """Classes whose T are made at once."""

    def __init__(self, members: Sequence[_Member]) -> None:
        runs = _grouped(members, lambda each: each.shapes[1])
        self.members = [each for run in runs for each in run]
        parts = [each.part for each in self.members]
        self.alike = Alike(parts, first=members[0].first, runs=[len(run) for run in runs])


class Together:
    """Makes the student's weights in as few operations as they take."""

    def __init__(
        self, classes: Sequence[WeightClass], parts: Iterable[nn.Module], maps: StepMaps
    ) -> None:
        members: list[_Member] = []
        self._scaled: list[tuple[WeightClass, Elementwise]] = []
        self._alone: list[tuple[WeightClass, nn.Module]] = []
        for each, part in zip(classes, parts, strict=True):
            if isinstance(part, Gated):
                members.append(_Member.of(each, part, maps))
            elif isinstance(part, Elementwise) and part.scale is not None:
                self._scaled.append((each, part))
            else:
                self._alone.append((each, part))
        families = [_Family(each) for each in _grouped(members, lambda each: each.family)]
        # Vectors are not rounded, and their W is learned.
        self._gated = _grouped(families, lambda each: each.members[0].part.teacher.dim())

    def materialize(self, maps: StepMaps) -> dict[str, Tensor]:
        """Return the student's weights, named as in its state dict; differentiable."""
        student: dict[str, Tensor] = {}
        for families in self._gated:
            members = [each for family in families for each in family.members]
            ts = [t for family in families for t in family.alike.mapped(maps)]
            made = gated([each.part for each in members], ts)
            _put(student, [each.weights for each in members], made)
        if self._scaled:
            made = scaled([part for _, part in self._scaled])
            _put(student, [each for each, _ in self._scaled], made)
        _put(student, [each for each, _ in self._alone], [part(maps) for _, part in self._alone])
        return student


def _grouped(items: Iterable[Item], key: Callable[[Item], Hashable]) -> list[list[Item]]:
    """Return items with one key together, keys and items in their first order."""
    found: dict[Hashable, list[Item]] = {}
    for each in items:
        found.setdefault(key(each), []).append(each)
    return list(found.values())


def _put(
    student: dict[str, Tensor],
    classes: Iterable[WeightClass],
    instances: Iterable[Sequence[Tensor]],
) -> None:
    for each, made in zip(classes, instances, strict=True):
        student.update(zip(each.student, made, strict=True))
