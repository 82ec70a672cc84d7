"""The parameter generator: a student's weights as a learned function of its teacher's."""

from collections.abc import Mapping

from torch import Tensor, nn

from wd.config import GeneratorConfig, ModelConfig
from wd.generator.grouping import weight_classes
from wd.generator.transform import Transformation


class ParameterGenerator(nn.Module):
    """One `Transformation` per class; trainable parameters are the maps, W and B only.

    The teacher's weights are frozen, held once, and in neither `parameters()` nor the state
    dict: a generator's checkpoint is loaded into a generator built on the same teacher.
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
        self.classes = weight_classes(teacher, student, config.grouping)
        self.transformations = nn.ModuleDict(
            {
                # A module's name may not hold a dot.
                each.name.replace(".", "/"): Transformation(
                    each,
                    [weights[name] for name in each.teacher],
                    config.grouping,
                    config.initialisation,
                )
                for each in self.classes
            }
        )

    def materialize(self) -> dict[str, Tensor]:
        """Return the student's weights, named as in its state dict; differentiable."""
        student: dict[str, Tensor] = {}
        for each, transform in zip(self.classes, self.transformations.values(), strict=True):
            student |= zip(each.student, transform().unbind(), strict=True)
        return student

    forward = materialize
