"""The losses of `loss` on a GPU, where passes over pieces x vocabulary numbers are what they cost.

Logits are kept in their own precision, with each row's log-sum-exp; no float32 copy outlives a
block of rows. Compiled, no such copy is made at all, and rows are not taken in blocks.
Shapes: N target pieces, R rows of a block, V vocabulary.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from wd.data.schema import PAD

_BLOCK = 2**26
"""Numbers of a block, of which a few float32 copies exist at a time: 256 MiB each."""


class LeanCrossEntropy(Function):
    """Label-smoothed cross-entropy, summed over what is no padding."""

    @staticmethod
    def forward(
        ctx: Any, logits_NV: Tensor, target_N: Tensor, smoothing: float, compiled: bool
    ) -> Tensor:
        """Return the loss [], float32."""
        inside_N = target_N != PAD
        by_row = _function(_loss_rows, compiled)
        loss_N, normaliser_N = _joined(
            by_row(logits, target, smoothing)
            for logits, target in _blocks(compiled, logits_NV, target_N)
        )
        ctx.save_for_backward(logits_NV, target_N, normaliser_N, inside_N)
        ctx.smoothing, ctx.compiled = smoothing, compiled
        return (loss_N * inside_N).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor, None, None, None]:
        """Return the gradient of the logits, in their precision."""
        logits_NV, target_N, normaliser_N, inside_N = ctx.saved_tensors
        by_row = _function(_gradient_rows, ctx.compiled)
        blocks = _blocks(ctx.compiled, logits_NV, target_N, normaliser_N, scale * inside_N)
        (gradient_NV,) = _joined((by_row(*each, ctx.smoothing),) for each in blocks)
        return gradient_NV, None, None, None


class LeanDivergence(Function):
    """T^2 KL(teacher || student) of logits / T, summed over what is no padding."""

    @staticmethod
    def forward(
        ctx: Any,
        logits_NV: Tensor,
        teacher_NV: Tensor,
        inside_N: Tensor,
        temperature: float,
        compiled: bool,
    ) -> Tensor:
        """Return the divergence [], float32."""
        by_row = _function(_divergence_rows, compiled)
        loss_N, ours_N, theirs_N = _joined(
            by_row(*each, temperature) for each in _blocks(compiled, logits_NV, teacher_NV)
        )
        ctx.save_for_backward(logits_NV, teacher_NV, ours_N, theirs_N, inside_N)
        ctx.temperature, ctx.compiled = temperature, compiled
        return temperature**2 * (loss_N * inside_N).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor, None, None, None, None]:
        """Return the gradient of the student's logits, in their precision."""
        *tensors, inside_N = ctx.saved_tensors
        by_row = _function(_divergence_gradient_rows, ctx.compiled)
        blocks = _blocks(ctx.compiled, *tensors, scale * ctx.temperature * inside_N)
        (gradient_NV,) = _joined((by_row(*each, ctx.temperature),) for each in blocks)
        return gradient_NV, None, None, None, None


class LeanStoredDivergence(Function):
    """T^2 KL(words || student) of what is stored of a teacher; the same on a CPU."""

    @staticmethod
    def forward(
        ctx: Any,
        logits_NV: Tensor,
        pieces_NK: Tensor,
        goal_NK: Tensor,
        inside_N: Tensor,
        temperature: float,
        compiled: bool,
    ) -> Tensor:
        """Return the divergence [], float32; `goal_NK` are log-probabilities, in sum 1."""
        by_row = _function(_stored_rows, compiled)
        loss_N, normaliser_N = _joined(
            by_row(*each, temperature) for each in _blocks(compiled, logits_NV, pieces_NK, goal_NK)
        )
        ctx.save_for_backward(logits_NV, pieces_NK, goal_NK, normaliser_N, inside_N)
        ctx.temperature, ctx.compiled = temperature, compiled
        return temperature**2 * (loss_N * inside_N).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        """Return the gradient of the student's logits, in their precision."""
        *tensors, inside_N = ctx.saved_tensors
        by_row = _function(_stored_gradient_rows, ctx.compiled)
        blocks = _blocks(ctx.compiled, *tensors, scale * ctx.temperature * inside_N)
        (gradient_NV,) = _joined((by_row(*each, ctx.temperature),) for each in blocks)
        return gradient_NV, None, None, None, None, None


def _loss_rows(logits_RV: Tensor, target_R: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Return each row's loss and log-sum-exp [R], float32."""
    logs_RV, normaliser_R = _logs(logits_RV, 1.0)
    chosen_R = logs_RV.gather(1, target_R[:, None]).squeeze(1)
    loss_R = (smoothing - 1) * chosen_R
    if smoothing:
        loss_R = loss_R - smoothing * (logits_RV.mean(1, dtype=torch.float32) - normaliser_R)
    return loss_R, normaliser_R


def _gradient_rows(
    logits_RV: Tensor, target_R: Tensor, normaliser_R: Tensor, scale_R: Tensor, smoothing: float
) -> Tensor:
    """Return (softmax - smoothed labels) * scale [R, V], in the logits' precision."""
    softmax_RV = _exp(logits_RV - normaliser_R[:, None])
    share = smoothing / logits_RV.shape[1]
    if torch.compiler.is_compiling():  # one pass, where adding to single places would be two
        columns_V = torch.arange(logits_RV.shape[1], device=target_R.device)
        labels_RV = (1 - smoothing) * (columns_V == target_R[:, None])
        return ((softmax_RV - share - labels_RV) * scale_R[:, None]).to(logits_RV.dtype)
    label_R1 = torch.full_like(target_R[:, None], smoothing - 1, dtype=torch.float32)
    softmax_RV.scatter_add_(1, target_R[:, None], label_R1)
    scale_R1, out_RV = scale_R[:, None], torch.empty_like(softmax_RV, dtype=logits_RV.dtype)
    return torch.addcmul(-share * scale_R1, softmax_RV, scale_R1, out=out_RV)


def _divergence_rows(
    logits_RV: Tensor, teacher_RV: Tensor, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return each row's divergence [R], and the log-sum-exps of both, float32."""
    ours_RV, normaliser_R = _logs(logits_RV, temperature)
    theirs_RV, teacher_normaliser_R = _logs(teacher_RV, temperature)
    loss_R = (theirs_RV.exp() * (theirs_RV - ours_RV)).sum(1)
    return loss_R, normaliser_R, teacher_normaliser_R


def _divergence_gradient_rows(
    logits_RV: Tensor,
    teacher_RV: Tensor,
    normaliser_R: Tensor,
    teacher_normaliser_R: Tensor,
    scale_R: Tensor,
    temperature: float,
) -> Tensor:
    """Return (student - teacher) * scale [R, V], in the logits' precision."""
    ours_RV = _exp(logits_RV.float() / temperature - normaliser_R[:, None])
    theirs_RV = _exp(teacher_RV.float() / temperature - teacher_normaliser_R[:, None])
    return ((ours_RV - theirs_RV) * scale_R[:, None]).to(logits_RV.dtype)


def _stored_rows(
    logits_RV: Tensor, pieces_RK: Tensor, goal_RK: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return each row's divergence and the student's log-sum-exp [R], float32."""
    logs_RV, normaliser_R = _logs(logits_RV, temperature)
    return (goal_RK.exp() * (goal_RK - logs_RV.gather(1, pieces_RK))).sum(1), normaliser_R


def _stored_gradient_rows(
    logits_RV: Tensor,
    pieces_RK: Tensor,
    goal_RK: Tensor,
    normaliser_R: Tensor,
    scale_R: Tensor,
    temperature: float,
) -> Tensor:
    """Return (student - teacher) * scale [R, V], in the logits' precision."""
    ours_RV = _exp(logits_RV.float() / temperature - normaliser_R[:, None])
    ours_RV = ours_RV.scatter_add(1, pieces_RK, -goal_RK.exp())
    return (ours_RV * scale_R[:, None]).to(logits_RV.dtype)


def _logs(logits_RV: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return log-probabilities, and what was subtracted from logits / temperature to get them."""
    if temperature != 1:
        logits_RV = logits_RV.float() / temperature
    logs_RV = logits_RV.log_softmax(1, dtype=torch.float32)
    return logs_RV, logits_RV[:, 0].float() - logs_RV[:, 0]


def _exp(numbers: Tensor) -> Tensor:
    return numbers.exp() if torch.compiler.is_compiling() else numbers.exp_()


@cache
def _function(by_row: Callable[..., Any], compiled: bool) -> Callable[..., Any]:
    return torch.compile(by_row, dynamic=True) if compiled else by_row


def _blocks(compiled: bool, *columns: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield tensors [N, ...] in blocks of rows; the first is [N, V]."""
    if compiled:
        return iter([columns])
    rows = max(1, _BLOCK // columns[0].shape[1])
    return zip(*(each.split(rows) for each in columns), strict=True)


def _joined(blocks: Iterator[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    made = list(blocks)
    return made[0] if len(made) == 1 else tuple(map(torch.cat, zip(*made, strict=True)))
