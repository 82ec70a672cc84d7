"""From teacher instances to student instances, one class at a time.

Lin et al. 2021, section 3.2, equations 2 to 4. Axes, teacher's in capitals, student's in lower
case: L teacher layers, S student layers (= subsets), O, o output width, I, i input width,
C copies of a map: 1 if the subsets share it, else S.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wd.generator.initialisation import gate
from wd.generator.sharing import MapKeys


class Maps(NamedTuple):
    """The maps that transformations look up by key."""

    layers: Mapping[str, Callable[[], Tensor]]
    """Each returns a mixing matrix [S, L]."""
    widths: Mapping[str, Tensor]
    """[C, teacher width, student width]."""


class Transformation(nn.Module):
    """S = tanh(T) * W + B, where T is the teacher's subset mapped to the student's shape.

    The class's frozen instances [L, O, I] (or [L, O] for vectors) are a buffer that is in no
    checkpoint. Maps are linear, so their order is free and chosen once: layers first, since a
    student has no more layers than its teacher, then the width map that leaves less to multiply.
    """

    teacher: Tensor

    def __init__(
        self, instances: Tensor, keys: MapKeys, maps: Maps, *, gate_start: str | None
    ) -> None:
        """Build on maps at their start. Without a `gate_start` there is no gate: S = T."""
        super().__init__()
        self._keys = keys
        self._constant = keys == MapKeys()
        self.register_buffer("teacher", instances, persistent=False)
        self.teacher_rms = float(instances.square().mean().sqrt())
        self._input_first = self._is_input_cheaper(maps)
        with torch.no_grad():
            t = self.mapped(maps)
        self.gate: nn.Parameter | None = None
        self.shift: nn.Parameter | None = None
        if gate_start is not None:
            self.gate = nn.Parameter(gate(t, gate_start))
            self.shift = nn.Parameter(torch.zeros_like(t))
        if self._constant:  # without maps T never changes: its tanh is taken once
            self.teacher = self.teacher.tanh()

    def mapped(self, maps: Maps) -> Tensor:
        """Return T: [S, o, i], or [S, o] for vectors."""
        t, keys = self.teacher, self._keys
        if keys.layer is not None:
            t = torch.tensordot(maps.layers[keys.layer](), t, dims=1)
        if t.dim() == 2:
            if keys.output is None:
                return t
            return (t.unsqueeze(1) @ maps.widths[keys.output]).squeeze(1)
        if keys.input is not None and self._input_first:
            t = t @ maps.widths[keys.input]
        if keys.output is not None:
            t = maps.widths[keys.output].transpose(1, 2) @ t
        if keys.input is not None and not self._input_first:
            t = t @ maps.widths[keys.input]
        return t

    def squashed(self, maps: Maps) -> Tensor:
        """Return tanh(T), of the student's shape."""
        return self.teacher if self._constant else self.mapped(maps).tanh()

    def forward(self, maps: Maps) -> Tensor:
        """Return the student's instances: [S, o, i], or [S, o] for vectors."""
        if self.gate is None or self.shift is None:
            return self.mapped(maps)
        return self.squashed(maps) * self.gate + self.shift

    def _is_input_cheaper(self, maps: Maps) -> bool:
        """Whether the input map before the output map takes fewer multiplications."""
        if self._keys.input is None or self._keys.output is None:
            return True
        _, inputs, fewer_inputs = maps.widths[self._keys.input].shape
        _, outputs, fewer_outputs = maps.widths[self._keys.output].shape
        input_first = outputs * fewer_inputs * (inputs + fewer_outputs)
        return input_first <= fewer_outputs * inputs * (outputs + fewer_inputs)


class Direct(nn.Module):
    """Student instances that are trained directly: copied from the teacher, or fresh."""

    def __init__(self, instances: Sequence[Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack(list(instances)))

    def forward(self, maps: Maps) -> Tensor:
        """Return the student's instances [S, ...]; no map is used."""
        return self.weight
