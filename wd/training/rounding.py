"""Weights rounded once, before the products that take them, instead of one by one in each."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def multiplied(model: nn.Module) -> list[str]:
    """Return the names of the weights and biases of a model's linear maps."""
    return [
        f"{module}.{name}"
        for module, linear in model.named_modules()
        if isinstance(linear, nn.Linear)
        for name, _ in linear.named_parameters()
    ]


def rounded(
    weights: Mapping[str, Tensor], names: Iterable[str], dtype: torch.dtype
) -> dict[str, Tensor]:
    """Return weights of which those named are in `dtype`; on a GPU that is one operation."""
    chosen = [name for name in names if name in weights]
    made = _Rounded.apply(dtype, *(weights[name] for name in chosen))
    return {**weights, **dict(zip(chosen, made, strict=True))}


class _Rounded(Function):
    """Copies of tensors in another precision; gradients come back in the tensors' own."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.dtypes = [each.dtype for each in tensors]
        copies = [torch.empty_like(each, dtype=dtype) for each in tensors]
        torch._foreach_copy_(copies, tensors)
        return tuple(copies)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        exact = [
            torch.empty_like(each, dtype=dtype)
            for each, dtype in zip(gradients, ctx.dtypes, strict=True)
        ]
        torch._foreach_copy_(exact, gradients)
        return None, *exact
