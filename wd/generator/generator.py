"""The parameter generator: a student's weights as a learned function of its teacher's."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from wd.config import GeneratorConfig, ModelConfig
from wd.generator.grouping import WeightClass, subset_bounds
from wd.generator.map_set import MapSet
from wd.generator.sharing import check_generable, choice, is_linear
from wd.generator.transform import Direct, Transformation
from wd.model.transformer import Transformer


class ParameterGenerator(nn.Module):
    """One `Transformation` per class, and the maps that they go through.

    Trainable are the maps, W and B, and what is copied or fresh by choice. The teacher's weights
    are frozen, held once, and in neither `parameters()` nor the state dict: a generator's
    checkpoint is loaded into a generator built on the same teacher.
    """

    def __init__(
        self,
        teacher: ModelConfig,
        student: ModelConfig,
        weights: Mapping[str, Tensor],
        config: GeneratorConfig,
    ) -> None:
        """Build on the teacher's weights (a state dict of `teacher`'s shape, float32).

        Raises ConfigError if this student cannot be generated from this teacher.
        """
        super().__init__()
        self.student = student
        self.classes = check_generable(teacher, student, config.grouping)
        self.maps = MapSet(self.classes, weights, teacher, student, config)
        choices = {each.name: choice(each, config.grouping) for each in self.classes}
        fresh = Transformer(student).state_dict() if "fresh" in choices.values() else {}
        self.parts = nn.ModuleDict()
        for each in self.classes:
            part: nn.Module
            if choices[each.name] == "generated":
                part = self._transformation(each, weights, config)
            elif choices[each.name] == "copied":
                part = Direct([weights[name] for name in _firsts(each)])
            else:
                part = Direct([fresh[name] for name in each.student])
            self.parts[each.key] = part

    def materialize(self) -> dict[str, Tensor]:
        """Return the student's weights, named as in its state dict; differentiable."""
        maps = self.maps.by_key()
        student: dict[str, Tensor] = {}
        for each, part in zip(self.classes, self.parts.values(), strict=True):
            student |= zip(each.student, part(maps).unbind(), strict=True)
        return student

    forward = materialize

    def transformations(self) -> dict[str, Transformation]:
        """Return class name -> transformation, of the classes that have one."""
        parts = zip(self.classes, self.parts.values(), strict=True)
        return {each.name: part for each, part in parts if isinstance(part, Transformation)}

    def _transformation(
        self, each: WeightClass, weights: Mapping[str, Tensor], config: GeneratorConfig
    ) -> Transformation:
        linear = is_linear(each, config.grouping)
        return Transformation(
            torch.stack([weights[name] for name in each.teacher]),
            self.maps.keys[each.name],
            self.maps.by_key(),
            gate_start=None if linear else config.initialisation.gate,
        )


def _firsts(each: WeightClass) -> list[str]:
    """Return the first teacher instance of every subset, as layer copy takes it."""
    return [each.teacher[first] for first, _ in subset_bounds(each.subsets)]
