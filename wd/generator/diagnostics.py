"""What a generator has learned, in figures that can be watched while it trains."""

import torch
from torch import Tensor

from wd.generator.generator import ParameterGenerator
from wd.generator.maps import StepMaps
from wd.generator.transform import Elementwise, Gated, rms

SATURATED = 0.95
"""Beyond this |tanh(T)| less than a tenth of the gradient gets through to the maps."""


@torch.no_grad()
def class_figures(
    generator: ParameterGenerator, optimizer: torch.optim.Optimizer
) -> dict[str, dict[str, float]]:
    """Return figures per class with a tanh.

    `saturated`, if T is mapped: share of weights with |tanh(T)| above `SATURATED`. `norm`: root
    mean square of the generated weights over that of the teacher's. `gradient_norm`: of the class's
    own parameters, from Adam's running mean of squared gradients (0 before the first step).
    """
    maps = generator.maps.by_key()
    return {
        name: {
            "norm": rms(torch.stack(list(part(maps)))) / max(part.teacher_rms, 1e-12),
            "gradient_norm": _gradient_norm(part, optimizer),
        }
        | ({"saturated": _saturated(part, maps)} if isinstance(part, Gated) else {})
        for name, part in generator.formula_parts().items()
    }


@torch.no_grad()
def layer_mixes(generator: ParameterGenerator) -> dict[str, Tensor]:
    """Return class name -> how its teacher layers are mixed [S, L], of the classes with a map."""
    maps, keys = generator.maps.by_key().exact.layers, generator.maps.keys
    return {
        each.name: maps[key].cpu()
        for each in generator.classes
        if (key := keys[each.name].layer) is not None
    }


def layer_shares(generator: ParameterGenerator) -> dict[str, Tensor]:
    """Return stack -> share of each teacher layer in each student layer [S, L]; rows sum to 1.

    The mean over the stack's classes of the mixes' absolute values. A stack that keeps its depth
    takes each layer from its counterpart.
    """
    mixes = layer_mixes(generator)
    shares = {}
    for stack in ("encoder", "decoder"):
        layers = f"{stack}.layers."
        layered = [each for each in generator.classes if each.student[0].startswith(layers)]
        found = [mixes[each.name].abs() for each in layered if each.name in mixes]
        rows = [mix / mix.sum(1, keepdim=True).clamp_min(1e-12) for mix in found]
        depth = len(layered[0].subsets)
        shares[stack] = torch.stack(rows).mean(0) if rows else torch.eye(depth)
    return shares


def _saturated(part: Gated, maps: StepMaps) -> float:
    return float((part.squashed(maps).abs() > SATURATED).float().mean())


def _gradient_norm(part: Gated | Elementwise, optimizer: torch.optim.Optimizer) -> float:
    beta = optimizer.param_groups[0]["betas"][1]
    total = 0.0
    for parameter in part.parameters():
        state = optimizer.state.get(parameter)
        if state and state["step"] > 0:  # none, if all updates were skipped
            total += float(state["exp_avg_sq"].sum()) / (1 - beta ** float(state["step"]))
    return total**0.5
