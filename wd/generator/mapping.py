"""T, the teacher's subsets mapped to the student's shape, for classes that are alike at once.

Lin et al. 2021, section 3.2, equations 2 and 3. Axes, teacher's in capitals, student's in lower
case: N classes that are alike, L teacher layers, S student layers (= subsets), O, o output width,
I, i input width, C copies of a map: 1 if the subsets share it, else S. R: outputs or inputs that a
map of the other axis leaves alone.

A vector is a matrix of one row, whose input map is its output map.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Literal

import torch
from torch import Tensor

from wd.generator.choices import MapKeys
from wd.generator.maps import Maps
from wd.generator.products import mix_layers, product

Role = Literal["output", "input"]


def mapped(
    t_NLOI: Tensor, keys: Sequence[MapKeys], maps: Maps, *, first: Role, runs: Sequence[int]
) -> list[Tensor]:
    """Return T of N classes' teacher instances, in runs of n classes: each [n, S, o, i].

    `keys` are each class's. All have a layer map, or none; so with the `first` width map, and
    within a run also with the other, whose shape may be another in the next run. Maps are linear,
    so their order is free: layers come first, since a student has no more layers than its teacher.
    """
    t = t_NLOI
    if keys[0].layer is not None:
        t = mix_layers(_stacked([maps.layers[str(each.layer)] for each in keys]), t)
    t = _through(t, keys, maps, first)
    parts = t.split(list(runs)) if len(runs) > 1 else [t]
    ends = accumulate(runs)
    second: Role = "input" if first == "output" else "output"
    return [
        _through(part, keys[end - len(part) : end], maps, second)
        for part, end in zip(parts, ends, strict=True)
    ]


def _through(t: Tensor, keys: Sequence[MapKeys], maps: Maps, role: Role) -> Tensor:
    """Map one axis of [n, S, ., .]; what has no map along it stays as it is."""
    found = [maps.widths[key] for key in (getattr(each, role) for each in keys) if key is not None]
    if not found:
        return t
    return (_inputs_through if role == "input" else _outputs_through)(t, _stacked(found))


def _inputs_through(t_NSRA: Tensor, maps_NCAa: Tensor) -> Tensor:
    """Map the last axis, to [N, S, R, a].

    A map that subsets share takes one plain product a class: batched ones are several times slower
    in their backward pass through a vocabulary's rows.
    """
    subsets = t_NSRA.shape[1]
    if maps_NCAa.shape[1] > 1:
        return (t_NSRA.flatten(0, 1) @ maps_NCAa.flatten(0, 1)).unflatten(0, (-1, subsets))
    return product(t_NSRA.flatten(1, 2), maps_NCAa.squeeze(1)).unflatten(1, (subsets, -1))


def _outputs_through(t_NSAR: Tensor, maps_NCAa: Tensor) -> Tensor:
    """Map the outputs, to [N, S, a, R], as `_inputs_through` does.

    Subsets lie side by side for a shared map, so that rows are copied and nothing is transposed.
    """
    subsets = t_NSAR.shape[1]
    if maps_NCAa.shape[1] > 1:
        made = maps_NCAa.flatten(0, 1).transpose(1, 2) @ t_NSAR.flatten(0, 1)
        return made.unflatten(0, (-1, subsets))
    beside = t_NSAR.transpose(1, 2).flatten(2)
    if len(beside) > 1:  # so the maps' gradients lie in memory as the maps do
        made = torch.bmm(beside.transpose(1, 2), maps_NCAa.squeeze(1)).transpose(1, 2)
    else:
        made = product(maps_NCAa.squeeze(1).transpose(1, 2), beside)
    return made.unflatten(2, (subsets, -1)).transpose(1, 2)


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(tensors)) if len(tensors) > 1 else tensors[0].unsqueeze(0)
