"""From teacher instances to student instances, class by class, or several classes at once.

Lin et al. 2021, section 3.2, equation 4. Axes, teacher's in capitals, student's in lower case:
L teacher layers, S student layers (= subsets), O, o output width, I, i input width.

Of a table [1, V, width] (one instance, V pieces) a part makes only the rows that it is asked for,
as [1, R, width]: an optimiser step looks up a small share of a vocabulary.
"""

from collections.abc import Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from wd.generator.choices import MapKeys
from wd.generator.initialisation import gate, shift
from wd.generator.mapping import Role, mapped
from wd.generator.maps import StepMaps
from wd.model.paths import product_dtype


class Direct(nn.Module):
    """Student instances that are trained directly: copied from the teacher, or fresh."""

    makes_rows = False
    """Whether single rows of a table can be made for less than the whole."""

    def __init__(self, instances: Iterable[Tensor]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(each.clone() for each in instances)

    def forward(self, maps: StepMaps) -> Sequence[Tensor]:
        """Return the student's S instances; no map is used."""
        return list(self.weights)


class Transformation(nn.Module):
    """S = T, the teacher's subset mapped to the student's shape.

    The class's frozen instances [L, O, I] (or [L, O] for vectors) are a buffer that is in no
    checkpoint.
    """

    makes_rows = True
    teacher: Tensor

    def __init__(self, instances: Tensor, keys: MapKeys, maps: StepMaps) -> None:
        super().__init__()
        self.keys = keys
        self.register_buffer("teacher", instances, persistent=False)
        self._alone = Alike([self], first="input" if self.input_gain(maps) >= 0 else "output")

    def mapped(self, maps: StepMaps, rows: Tensor | None = None) -> Tensor:
        """Return T: [S, o, i], or [S, o] for vectors, which no product rounds."""
        (t,) = self._alone.mapped(maps, rows)
        return t.squeeze(0)

    def forward(self, maps: StepMaps, rows: Tensor | None = None) -> Sequence[Tensor]:
        """Return the student's S instances: [o, i], or [o] for vectors.

        They have the teacher's precision also where autocast rounds the maps' products.
        """
        return _instances(self.mapped(maps, rows).to(self.teacher.dtype))

    def input_gain(self, maps: StepMaps) -> int:
        """Return how many multiplications the input map before the output map saves."""
        if self.keys.input is None or self.keys.output is None:
            return 0
        _, inputs, fewer_inputs = maps.exact.widths[self.keys.input].shape
        _, outputs, fewer_outputs = maps.exact.widths[self.keys.output].shape
        input_first = outputs * fewer_inputs * (inputs + fewer_outputs)
        return fewer_outputs * inputs * (outputs + fewer_inputs) - input_first


class Alike:
    """Transformations of N classes that take the same steps, but perhaps for the last."""

    def __init__(
        self, parts: Sequence[Transformation], *, first: Role, runs: Sequence[int] = (1,)
    ) -> None:
        """Take parts whose teacher instances have one shape, and their `first` width maps too.

        The other width maps' shapes agree in each of the `runs` of parts.
        """
        self._parts, self._first, self._runs = parts, first, runs
        self._taken: Tensor | None = None

    def mapped(self, maps: StepMaps, rows: Tensor | None = None) -> list[Tensor]:
        """Return T of each, in runs of n parts: [n, S, o, i], or [n, S, o] of vectors.

        No product rounds vectors.
        """
        keys, one = [part.keys for part in self._parts], self._parts[0]
        if one.teacher.dim() == 3:
            taken = _rows(self._teacher(), rows)
            return mapped(taken, keys, maps.rounded, first=self._first, runs=self._runs)
        as_inputs = [MapKeys(layer=each.layer, input=each.output) for each in keys]
        with torch.autocast(one.teacher.device.type, enabled=False):
            row = self._teacher().unsqueeze(2)
            made = mapped(row, as_inputs, maps.exact, first="input", runs=self._runs)
        return [t.squeeze(2) for t in made]

    def _teacher(self) -> Tensor:
        """Return the teacher as products take it [N, L, ...], rounded once for all steps."""
        first = self._parts[0].teacher
        dtype = product_dtype(first) if first.dim() == 3 else first.dtype
        if len(self._parts) == 1 and dtype == first.dtype:
            return first.unsqueeze(0)
        if self._taken is None or (self._taken.device, self._taken.dtype) != (first.device, dtype):
            self._taken = torch.stack([part.teacher.to(dtype) for part in self._parts])
        return self._taken


class Gated(Transformation):
    """S = tanh(T) * W + B."""

    gate: nn.Parameter | None
    """W; None: it is 1 and not learned."""

    def __init__(
        self, instances: Tensor, keys: MapKeys, maps: StepMaps, start: str, *, learned_gate: bool
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

    def squashed(self, maps: StepMaps) -> Tensor:
        """Return tanh(T), of the student's shape."""
        return self.mapped(maps).tanh()

    def forward(self, maps: StepMaps, rows: Tensor | None = None) -> Sequence[Tensor]:
        """See `Transformation.forward`."""
        (made,) = gated([self], [self.mapped(maps, rows)], rows)
        return made


def gated(
    parts: Sequence[Gated], ts: Sequence[Tensor], rows: Tensor | None = None
) -> list[Sequence[Tensor]]:
    """Return the S instances of each part: S = tanh(T) * W + B, for all of them at once.

    `ts` hold the parts' T in their order, each of one part [S, ...] or of several [n, S, ...].
    Either all parts have a W, or none.
    """
    shifts = [_rows(part.shift, rows) for part in parts]
    gates = [_rows(part.gate, rows) for part in parts if part.gate is not None]
    beside = partial(_beside, alone=len(parts) == 1)
    squashed = beside(ts).tanh()
    if gates:
        made = torch.addcmul(beside(shifts), squashed, beside(gates))
    else:
        made = beside(shifts) + squashed
    return _apart(made, shifts)


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

    def forward(self, maps: StepMaps, rows: Tensor | None = None) -> Sequence[Tensor]:
        """Return the student's S instances; no map is used."""
        if self.scale is None:
            return super().forward(maps)
        pairs = zip(self.scale, self.weights, strict=True)
        if rows is None:
            return [scale * weight for scale, weight in pairs]
        return [scale[rows] * functional.embedding(rows, weight) for scale, weight in pairs]


def scaled(parts: Sequence[Elementwise]) -> list[Sequence[Tensor]]:
    """Return the S instances of each part, all of which have a learned W, at once."""
    scales = [part.scale for part in parts if part.scale is not None]
    weights = [weight for part in parts for weight in part.weights]
    beside = partial(_beside, alone=len(weights) == 1)
    return _apart(beside(scales) * beside(weights), scales)


def _beside(tensors: Sequence[Tensor], *, alone: bool) -> Tensor:
    """Return tensors' elements in one row; of a part alone its one as it is, to copy nothing."""
    return tensors[0] if alone else torch.cat([each.flatten() for each in tensors])


def _apart(made: Tensor, like: Sequence[Tensor]) -> list[Sequence[Tensor]]:
    """Return the instances [...] that lie side by side, as they stand in tensors [S, ...]."""
    if len(like) == 1:
        return [_instances(made.view(like[0].shape))]
    sizes = [each[0].numel() for each in like for _ in each]
    pieces = iter(made.split(sizes))
    return [[next(pieces).view(each.shape[1:]) for _ in each] for each in like]


def _instances(stacked: Tensor) -> Sequence[Tensor]:
    """Return [S, ...] apart; of a single one the gradient needs no copy to be stacked again."""
    return stacked.unbind() if len(stacked) > 1 else [stacked.squeeze(0)]


def _rows(table: Tensor, rows: Tensor | None) -> Tensor:
    """Return a table's rows [..., R, width], with a gradient that is fast to make."""
    if rows is None:
        return table
    made = functional.embedding(rows, table.flatten(0, -2))
    return made.unflatten(0, (*(1 for _ in table.shape[:-2]), -1))


def rms(instances: Tensor) -> float:
    """Return the root mean square of weights of any shape."""
    return float(instances.square().mean().sqrt())
