"""T, the teacher's subsets mapped to the student's shape, for classes that are alike at once.

Lin et al. 2021, section 3.2, equations 2 and 3. Axes, teacher's in capitals, student's in lower
case: N classes that are alike, L teacher layers, S student layers (= subsets), O, o output width,
I, i input width, C copies of a map: 1 if the subsets share it, else S. R: outputs or inputs that a
map of the other axis leaves alone.

A vector is a matrix of one row, whose input map is its output map.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from wd.generator.choices import MapKeys
from wd.generator.maps import Maps


def mapped(t_NLOI: Tensor, keys: Sequence[MapKeys], maps: Maps, *, input_first: bool) -> Tensor:
    """Return T [N, S, o, i] of N classes' teacher instances; `keys` are each class's.

    Maps are linear, so their order is free: layers first, since a student has no more layers than
    its teacher, then the width map that leaves less to multiply.
    """
    layers, inputs, outputs = (
        _stacked([table[key] for key in found]) if None not in found else None
        for table, found in (
            (maps.layers, [each.layer for each in keys]),
            (maps.widths, [each.input for each in keys]),
            (maps.widths, [each.output for each in keys]),
        )
    )
    t = t_NLOI if layers is None else mix_layers(layers, t_NLOI)
    if inputs is not None and input_first:
        t = _inputs_through(t, inputs)
    if outputs is not None:
        t = _outputs_through(t, outputs)
    if inputs is not None and not input_first:
        t = _inputs_through(t, inputs)
    return t


def mix_layers(mixing_NSL: Tensor, t_NLOI: Tensor) -> Tensor:
    """Return teacher instances mixed into [N, S, O, I]."""
    return _product(mixing_NSL, t_NLOI.flatten(2)).unflatten(2, t_NLOI.shape[2:])


def _inputs_through(t_NSRA: Tensor, maps_NCAa: Tensor) -> Tensor:
    """Map the last axis, to [N, S, R, a].

    A map that subsets share takes one plain product a class: batched ones are several times slower
    in their backward pass through a vocabulary's rows.
    """
    subsets = t_NSRA.shape[1]
    if maps_NCAa.shape[1] > 1:
        return (t_NSRA.flatten(0, 1) @ maps_NCAa.flatten(0, 1)).unflatten(0, (-1, subsets))
    return _product(t_NSRA.flatten(1, 2), maps_NCAa.squeeze(1)).unflatten(1, (subsets, -1))


def _outputs_through(t_NSAR: Tensor, maps_NCAa: Tensor) -> Tensor:
    """Map the outputs, to [N, S, a, R], as `_inputs_through` does.

    Subsets lie side by side for a shared map, so that rows are copied and nothing is transposed.
    """
    subsets = t_NSAR.shape[1]
    if maps_NCAa.shape[1] > 1:
        made = maps_NCAa.flatten(0, 1).transpose(1, 2) @ t_NSAR.flatten(0, 1)
        return made.unflatten(0, (-1, subsets))
    beside = t_NSAR.transpose(1, 2).flatten(2)
    made = _product(maps_NCAa.squeeze(1).transpose(1, 2), beside)
    return made.unflatten(2, (subsets, -1)).transpose(1, 2)


def _product(one: Tensor, other: Tensor) -> Tensor:
    """Multiply N pairs of matrices; a single pair's gradients need no copies."""
    if len(one) > 1:
        return torch.bmm(one, other)
    return (one.squeeze(0) @ other.squeeze(0)).unsqueeze(0)


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(tensors)) if len(tensors) > 1 else tensors[0].unsqueeze(0)
