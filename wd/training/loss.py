"""Losses over word distributions, summed over target pieces."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from wd.data.distributions import Words
from wd.data.schema import PAD
from wd.model.paths import takes_gpu_path
from wd.training.lean_loss import LeanCrossEntropy, LeanDivergence, LeanStoredDivergence


def cross_entropy(
    logits_BTV: Tensor, target_BT: Tensor, label_smoothing: float, *, compiled: bool = False
) -> Tensor:
    """Return the sum over all target pieces (nats, float32); padding counts nothing.

    Labels are smoothed as in Szegedy et al. 2016, section 7. `compiled` has an effect on a GPU.
    """
    logits_NV, target_N = logits_BTV.flatten(0, 1), target_BT.flatten()
    if takes_gpu_path(logits_NV):
        return LeanCrossEntropy.apply(logits_NV, target_N, label_smoothing, compiled)
    return _CrossEntropy.apply(logits_NV, target_N, label_smoothing)


class _CrossEntropy(Function):
    """What `functional.cross_entropy` computes, in fewer passes over N x V numbers.

    The gradient, softmax - smoothed labels, is made from the log-probabilities at once.
    """

    @staticmethod
    def forward(ctx: Any, logits_NV: Tensor, target_N: Tensor, smoothing: float) -> Tensor:
        logs_NV = logits_NV.float().log_softmax(-1)
        inside_N = target_N != PAD
        chosen_N = logs_NV.gather(1, target_N[:, None]).squeeze(1)
        loss_N = (smoothing - 1) * chosen_N
        if smoothing:
            loss_N -= smoothing * logs_NV.mean(1)
        ctx.save_for_backward(logs_NV, target_N, inside_N)
        ctx.smoothing, ctx.dtype = smoothing, logits_NV.dtype
        return (loss_N * inside_N).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor, None, None]:
        logs_NV, target_N, inside_N = ctx.saved_tensors
        gradient_NV = logs_NV.exp()
        if ctx.smoothing:
            gradient_NV -= ctx.smoothing / gradient_NV.shape[1]
        labels_N1 = torch.full_like(target_N[:, None], ctx.smoothing - 1, dtype=logs_NV.dtype)
        gradient_NV.scatter_add_(1, target_N[:, None], labels_N1)
        gradient_NV *= (scale * inside_N)[:, None]
        return gradient_NV.to(ctx.dtype), None, None


def word_divergence(
    logits_BTV: Tensor,
    teacher_BTV: Tensor,
    target_BT: Tensor,
    temperature: float,
    *,
    compiled: bool = False,
) -> Tensor:
    """Return T^2 KL(teacher || student) of logits / T, summed over all target pieces.

    Nats, float32. The square keeps the gradient's size as the temperature T changes (Hinton et
    al. 2015, section 2). Padding counts nothing. `compiled` has an effect on a GPU.
    """
    if takes_gpu_path(logits_BTV):
        both = logits_BTV.flatten(0, 1), teacher_BTV.flatten(0, 1)
        return LeanDivergence.apply(*both, target_BT.flatten() != PAD, temperature, compiled)
    student_BTV = (logits_BTV.float() / temperature).log_softmax(-1)
    goal_BTV = (teacher_BTV.float() / temperature).log_softmax(-1)
    each_BTV = functional.kl_div(student_BTV, goal_BTV, reduction="none", log_target=True)
    return temperature**2 * (each_BTV.sum(-1) * (target_BT != PAD)).sum()


def stored_divergence(
    logits_BTV: Tensor,
    words: Words,
    target_BT: Tensor,
    temperature: float,
    *,
    compiled: bool = False,
) -> Tensor:
    """Return what `word_divergence` does, of the words that are stored of a teacher.

    Their probabilities are made to sum to one, and all other words have none (Tan et al. 2019,
    their top-K distillation); with the whole vocabulary stored nothing is lost.
    """
    goal_BTK = (words.logs_BTK / temperature).log_softmax(-1)
    stored = words.pieces_BTK.flatten(0, 1), goal_BTK.flatten(0, 1)
    inside_N = target_BT.flatten() != PAD
    return LeanStoredDivergence.apply(
        logits_BTV.flatten(0, 1), *stored, inside_N, temperature, compiled
    )
