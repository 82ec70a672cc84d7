"""The transformation of one class: subsets of teacher instances to student instances.

Lin et al. 2021, section 3.2, equations 2 to 4. Axes, teacher's in capitals, student's in lower
case: L teacher layers, S student layers (= subsets), O, o output width, I, i input width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wd.config import GroupingConfig, InitialisationConfig
from wd.generator.grouping import WeightClass, subset_bounds
from wd.generator.initialisation import gate, width_map


class Transformation(nn.Module):
    """S = tanh(T) * W + B, where T is the teacher's subset mapped to the student's shape.

    The maps are linear, so their order is free; the layer axis goes first, which shrinks the
    rest. `teacher` holds the class's frozen instances [L, O, I] (or [L, O] for vectors) and is
    in no checkpoint. Matrices have all maps; embeddings [vocabulary, width] have no vocabulary
    map; vectors have no input map; where shape and depth agree there are no maps at all.
    """

    teacher: Tensor

    def __init__(
        self,
        weights: WeightClass,
        instances: Sequence[Tensor],
        grouping: GroupingConfig,
        start: InitialisationConfig,
    ) -> None:
        super().__init__()
        self.register_buffer("teacher", torch.stack(list(instances)), persistent=False)
        self.layer_map: LayerMap | None = None
        self.output_map: nn.Parameter | None = None
        self.input_map: nn.Parameter | None = None
        if not weights.elementwise:
            shared = grouping.sharing == "class"
            copies = 1 if shared else len(weights.subsets)
            self.layer_map = LayerMap(weights.subsets, shared)
            *outputs, inputs = zip(weights.teacher_shape, weights.student_shape, strict=True)
            if weights.kind == "matrix":
                self.output_map = _width_maps(copies, *outputs[0], start.maps)
            if weights.kind == "vector":
                self.output_map = _width_maps(copies, *inputs, start.maps)
            else:
                self.input_map = _width_maps(copies, *inputs, start.maps)
        with torch.no_grad():
            t_Soi = self.mapped()
        self.gate = nn.Parameter(gate(t_Soi, start.gate))
        self.shift = nn.Parameter(torch.zeros_like(t_Soi))

    def mapped(self) -> Tensor:
        """Return T: [S, o, i], or [S, o] for vectors."""
        t = self.teacher
        if self.layer_map is not None:
            t = torch.tensordot(self.layer_map(), t, dims=1)
        if self.input_map is not None:
            t = t @ self.input_map
        if self.output_map is not None:
            vector = t.dim() == 2
            t = self.output_map.transpose(1, 2) @ (t.unsqueeze(2) if vector else t)
            t = t.squeeze(2) if vector else t
        return t

    def forward(self) -> Tensor:
        """Return the student's instances: [S, o, i], or [S, o] for vectors."""
        return self.mapped().tanh() * self.gate + self.shift


class LayerMap(nn.Module):
    """W_L: how a subset's teacher layers are mixed, starting from their mean.

    Shared: one mix per subset size; otherwise one per subset.
    """

    index: Tensor
    inside: Tensor

    def __init__(self, subsets: tuple[int, ...], shared: bool) -> None:
        super().__init__()
        offsets: dict[int, int] = {}
        starts: list[Tensor] = []
        length = 0
        index = torch.zeros(len(subsets), sum(subsets), dtype=torch.int64)
        inside = torch.zeros(len(subsets), sum(subsets))
        for subset, (first, end) in enumerate(subset_bounds(subsets)):
            size = end - first
            key = size if shared else -subset
            if key not in offsets:
                offsets[key] = length
                starts.append(torch.full((size,), 1 / size))
                length += size
            index[subset, first:end] = torch.arange(size) + offsets[key]
            inside[subset, first:end] = 1
        self.weight = nn.Parameter(torch.cat(starts))
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("inside", inside, persistent=False)

    def forward(self) -> Tensor:
        """Return the mixing matrix [S, L]: zero outside each subset."""
        return self.weight[self.index] * self.inside


def _width_maps(copies: int, rows: int, columns: int, choice: str) -> nn.Parameter:
    """Return maps [copies, rows, columns], all with the same start."""
    return nn.Parameter(width_map(rows, columns, choice).repeat(copies, 1, 1))
