"""The parameter generator: a student's weights as a learned function of its teacher's."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from wd.config import GeneratorConfig, ModelConfig
from wd.generator.choices import MapKeys, choice, generable_classes, has_learned_gate, is_linear
from wd.generator.grouping import WeightClass
from wd.generator.maps import MapSet, StepMaps, layer_map
from wd.generator.products import mix_layers
from wd.generator.threads import one_thread
from wd.generator.together import Together
from wd.generator.transform import Direct, Elementwise, Gated, Transformation
from wd.model.paths import takes_gpu_path
from wd.model.transformer import Transformer


class ParameterGenerator(nn.Module):
    """One part per class, and the maps that the parts go through.

    Trainable are the maps, W and B, or E or S, and what is copied or fresh by choice. The teacher's
    weights are frozen and in neither `parameters()` nor the state dict: a generator's
    checkpoint is loaded into a generator built on the same teacher.
    """

    @torch.no_grad()
    @one_thread()
    def __init__(
        self,
        teacher: ModelConfig,
        student: ModelConfig,
        weights: Mapping[str, Tensor],
        config: GeneratorConfig,
    ) -> None:
        """Build on the teacher's weights (a state dict of `teacher`'s shape, float32).

        The start has the same bits however many threads torch may use.
        Raises ConfigError if this student cannot be generated from this teacher.
        """
        super().__init__()
        self.student = student
        self.classes = generable_classes(teacher, student, config.grouping)
        instances = {
            each.name: torch.stack([weights[name] for name in each.teacher])
            for each in self.classes
        }
        self.maps = MapSet(self.classes, instances, teacher, student, config)
        choices = {each.name: choice(each, config.grouping) for each in self.classes}
        fresh = Transformer(student).state_dict() if "fresh" in choices.values() else {}
        maps = self.maps.by_key()
        self.parts = nn.ModuleDict()
        for each in self.classes:
            part: nn.Module
            if choices[each.name] == "generated":
                part = self._generated(each, instances[each.name], maps, config)
            elif choices[each.name] == "copied":  # from the layers that those mapped start from
                part = Direct(mix_layers(layer_map(each, config)(), instances[each.name]))
            else:
                part = Direct([fresh[name] for name in each.student])
            self.parts[each.key] = part
        self._together = Together(self.classes, self.parts.values(), maps)

    def materialize(self, looked_up: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Return the student's weights, named as in its state dict; differentiable.

        `looked_up`: table name -> the distinct rows (int64) that will be read of it; what the
        others hold is undefined.
        """
        maps, looked_up = self.maps.by_key(), looked_up or {}
        if not looked_up and takes_gpu_path(next(self.parameters())):
            return self._together.materialize(maps)
        student: dict[str, Tensor] = {}
        for each, part in zip(self.classes, self.parts.values(), strict=True):
            rows = looked_up.get(each.student[0])
            if rows is None or not part.makes_rows:
                student |= zip(each.student, part(maps), strict=True)
            else:
                (made,) = part(maps, rows)
                table = made.new_empty(each.student_shape)
                student[each.student[0]] = table.index_copy_(0, rows, made)
        return student

    forward = materialize

    @torch.no_grad()
    @one_thread()
    def published(self) -> dict[str, Tensor]:
        """Return the student's weights as they are published: detached, and made on the CPU.

        A generator's state makes the same bits wherever it was trained or loaded: on any device, on
        any number of threads.
        """
        state = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        on_cpu = {name: each.detach().cpu() for name, each in state.items()}
        student: dict[str, Tensor] = functional_call(self, on_cpu, ())
        return student

    def formula_parts(self) -> dict[str, Gated | Elementwise]:
        """Return class name -> part, of the classes that S = tanh(T) * W + B makes."""
        parts = zip(self.classes, self.parts.values(), strict=True)
        return {each.name: part for each, part in parts if isinstance(part, Gated | Elementwise)}

    def _generated(
        self, each: WeightClass, instances: Tensor, maps: StepMaps, config: GeneratorConfig
    ) -> nn.Module:
        keys, start = self.maps.keys[each.name], config.initialisation
        if is_linear(each, config.grouping):
            return Transformation(instances, keys, maps)
        learned_gate = has_learned_gate(each, config.grouping)
        if keys == MapKeys():
            return Elementwise(instances, start.gate, learned_gate=learned_gate)
        return Gated(instances, keys, maps, start.gate, learned_gate=learned_gate)
