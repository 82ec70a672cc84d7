"""Weights rounded once, before the products that take them, instead of one by one in each."""

from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from wd.model.paths import product_dtype, takes_gpu_path

Key = TypeVar("Key", bound=Hashable)


def multiplied(model: nn.Module) -> list[str]:
    """Return the names of the weights and biases of a model's linear maps."""
    return [
        f"{module}.{name}"
        for module, linear in model.named_modules()
        if isinstance(linear, nn.Linear)
        for name, _ in linear.named_parameters()
    ]


def rounded(tensors: Mapping[Key, Tensor]) -> dict[Key, Tensor]:
    """Return tensors as products under autocast take them; on a GPU that is one operation."""
    if not tensors:
        return {}
    one = next(iter(tensors.values()))
    dtype = product_dtype(one)
    if dtype == one.dtype or not takes_gpu_path(one):
        return {key: each.to(dtype) for key, each in tensors.items()}
    return dict(zip(tensors, _Rounded.apply(dtype, *tensors.values()), strict=True))


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
