"""From teacher instances to student instances, one class at a time.

Lin et al. 2021, section 3.2, equations 2 to 4. Axes, teacher's in capitals, student's in lower
case: L teacher layers, S student layers (= subsets), O, o output width, I, i input width,
C copies of a map: 1 if the subsets share it, else S.

Of a table [1, V, width] (one instance, V pieces) a part makes only the rows that it is asked for,
as [1, R, width]: an optimiser step looks up a small share of a vocabulary.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from wd.generator.choices import MapKeys
from wd.generator.initialisation import gate, shift
from wd.generator.layer_map import mix_layers
from wd.generator.maps import Maps, product_dtype


class Direct(nn.Module):
    """Student instances that are trained directly: copied from the teacher, or fresh."""

    makes_rows = False
    """Whether single rows of a table can be made for less than the whole."""

    def __init__(self, instances: Iterable[Tensor]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(each.clone() for each in instances)

    def forward(self, maps: Maps) -> Sequence[Tensor]:
        """Return the student's S instances; no map is used."""
        return list(self.weights)


class Transformation(nn.Module):
    """S = T, the teacher's subset mapped to the student's shape.

    The class's frozen instances [L, O, I] (or [L, O] for vectors) are a buffer that is in no
    checkpoint. Maps are linear, so their order is free and chosen once: layers first, since a
    student has no more layers than its teacher, then the width map that leaves less to multiply.
    """

    makes_rows = True
    teacher: Tensor

    def __init__(self, instances: Tensor, keys: MapKeys, maps: Maps) -> None:
        super().__init__()
        self._keys = keys
        self._input_first = self._is_input_cheaper(maps)
        self._rounded: Tensor | None = None
        self.register_buffer("teacher", instances, persistent=False)

    def mapped(self, maps: Maps, rows: Tensor | None = None) -> Tensor:
        """Return T: [S, o, i], or [S, o] for vectors, which no product rounds."""
        if self.teacher.dim() == 2:
            with torch.autocast(self.teacher.device.type, enabled=False):
                return self._mapped_vectors(maps)
        t, keys = _rows(self._multiplied(), rows), self._keys
        if keys.layer is not None:
            t = mix_layers(maps.layers[keys.layer](), t)
        if keys.input is not None and self._input_first:
            t = _through(t, maps.widths[keys.input])
        if keys.output is not None:
            t = _outputs_through(t, maps.widths[keys.output])
        if keys.input is not None and not self._input_first:
            t = _through(t, maps.widths[keys.input])
        return t

    def forward(self, maps: Maps, rows: Tensor | None = None) -> Sequence[Tensor]:
        """Return the student's S instances: [o, i], or [o] for vectors.

        They have the teacher's precision also where autocast rounds the maps' products.
        """
        return _apart(self.mapped(maps, rows).to(self.teacher.dtype))

    def _mapped_vectors(self, maps: Maps) -> Tensor:
        t, keys = self.teacher, self._keys
        if keys.layer is not None:
            t = mix_layers(maps.layers[keys.layer](), t)
        if keys.output is None:
            return t
        return _through(t[:, None], maps.exact[keys.output])[:, 0]

    def _multiplied(self) -> Tensor:
        """Return the teacher as products take it, rounded once for all steps."""
        dtype = product_dtype(self.teacher)
        if dtype == self.teacher.dtype:
            return self.teacher
        taken = self.teacher.device, dtype
        if self._rounded is None or (self._rounded.device, self._rounded.dtype) != taken:
            self._rounded = self.teacher.to(dtype)
        return self._rounded

    def _is_input_cheaper(self, maps: Maps) -> bool:
        """Whether the input map before the output map takes fewer multiplications."""
        if self._keys.input is None or self._keys.output is None:
            return True
        _, inputs, fewer_inputs = maps.widths[self._keys.input].shape
        _, outputs, fewer_outputs = maps.widths[self._keys.output].shape
        input_first = outputs * fewer_inputs * (inputs + fewer_outputs)
        return input_first <= fewer_outputs * inputs * (outputs + fewer_inputs)


def _through(t: Tensor, maps: Tensor) -> Tensor:
    """Map the last axis: [S, R, A] through [C, A, a] to [S, R, a].

    A shared map takes one plain product: batched ones are several times slower in their backward
    pass through a vocabulary's rows, and the gradient of `maps[0]` would be filled and copied.
    """
    if len(maps) > 1:
        return t @ maps
    return (t.flatten(0, 1) @ maps.squeeze(0)).unflatten(0, t.shape[:2])


def _outputs_through(t: Tensor, maps: Tensor) -> Tensor:
    """Map the outputs: [S, O, R] through [C, O, o] to [S, o, R], as `_through` does.

    Subsets lie side by side for a shared map, so that rows are copied and nothing is transposed.
    """
    if len(maps) > 1:
        return maps.transpose(1, 2) @ t
    beside = t.transpose(0, 1).flatten(1)
    return (maps.squeeze(0).T @ beside).unflatten(1, (t.shape[0], t.shape[2])).transpose(0, 1)


class Gated(Transformation):
    """S = tanh(T) * W + B."""

    gate: nn.Parameter | None
    """W; None: it is 1 and not learned."""

    def __init__(
        self, instances: Tensor, keys: MapKeys, maps: Maps, start: str, *, learned_gate: bool
    ) -> None:
        """Build on maps at their start; `start` says where W and B do.

        A W that is neither learned nor 1 is a parameter without gradient: checkpoints hold it,
        since it could not be made again once the maps have moved.
        """
        super().__init__(instances, keys, maps)
        self.teacher_rms = rms(instances)
        with torch.no_grad():
            t = self.mapped(maps).contiguous()
        self.gate = None
        if learned_gate or start == "exact":
            self.gate = nn.Parameter(gate(t, start), requires_grad=learned_gate)
        self.shift = nn.Parameter(shift(t, start))

    def squashed(self, maps: Maps) -> Tensor:
        """Return tanh(T), of the student's shape."""
        return self.mapped(maps).tanh()

    def forward(self, maps: Maps, rows: Tensor | None = None) -> Sequence[Tensor]:
        """See `Transformation.forward`."""
        squashed, shifts = self.mapped(maps, rows).tanh(), _rows(self.shift, rows)
        if self.gate is None:
            return _apart(shifts + squashed)
        return _apart(torch.addcmul(shifts, squashed, _rows(self.gate, rows)))


class Elementwise(Direct):
    """S = tanh(T) * W + B where no map makes T, which is then the teacher's frozen weight.

    Without a learned W this is S = S_0 + B, so S is trained directly. Otherwise W's gradient is
    always tanh(T) times B's, and Adam's steps do not depend on a gradient's scale (far above its
    epsilon): both take steps of one size, and S moves by 1 + |tanh(T)| times that size. So does it
    with one parameter E and S = (1 + |tanh(T)|) * E, at half of the cost, also under weight decay.
    Only a norm to clip at sees another gradient.
    """

    scale: Tensor | None

    def __init__(self, instances: Tensor, start: str, *, learned_gate: bool) -> None:
        """Start S where `start` would have W and B start it."""
        squashed = instances.tanh()
        starts = squashed * gate(instances, start) + shift(instances, start)
        scale = 1 + squashed.abs() if learned_gate else None
        super().__init__(starts if scale is None else starts / scale)
        self.teacher_rms = rms(instances)
        self.register_buffer("scale", scale, persistent=False)
        self.makes_rows = learned_gate

    def forward(self, maps: Maps, rows: Tensor | None = None) -> Sequence[Tensor]:
        """Return the student's S instances; no map is used."""
        if self.scale is None:
            return super().forward(maps)
        pairs = zip(self.scale, self.weights, strict=True)
        if rows is None:
            return [scale * weight for scale, weight in pairs]
        return [scale[rows] * functional.embedding(rows, weight) for scale, weight in pairs]


def _apart(stacked: Tensor) -> Sequence[Tensor]:
    """Return [S, ...] apart; of a single one the gradient needs no copy to be stacked again."""
    return stacked.unbind() if len(stacked) > 1 else [stacked.squeeze(0)]


def _rows(table: Tensor, rows: Tensor | None) -> Tensor:
    """Return a table's rows [1, R, width], with a gradient that is fast to make."""
    return table if rows is None else functional.embedding(rows, table.squeeze(0))[None]


def rms(instances: Tensor) -> float:
    """Return the root mean square of weights of any shape."""
    return float(instances.square().mean().sqrt())
