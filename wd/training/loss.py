"""Losses over word distributions, summed over target pieces."""

from torch import Tensor
from torch.nn import functional

from wd.data.schema import PAD


def cross_entropy(logits_BTV: Tensor, target_BT: Tensor, label_smoothing: float) -> Tensor:
    """Return the sum over all target pieces (nats, float32); padding counts nothing.

    Labels are smoothed as in Szegedy et al. 2016, section 7.
    """
    return functional.cross_entropy(
        logits_BTV.float().flatten(0, 1),
        target_BT.flatten(),
        ignore_index=PAD,
        reduction="sum",
        label_smoothing=label_smoothing,
    )


def word_divergence(
    logits_BTV: Tensor, teacher_BTV: Tensor, target_BT: Tensor, temperature: float
) -> Tensor:
    """Return T^2 KL(teacher || student) of logits / T, summed over all target pieces.

    Nats, float32. The square keeps the gradient's size as the temperature T changes (Hinton et
    al. 2015, section 2). Padding counts nothing.
    """
    student_BTV = (logits_BTV.float() / temperature).log_softmax(-1)
    goal_BTV = (teacher_BTV.float() / temperature).log_softmax(-1)
    each_BTV = functional.kl_div(student_BTV, goal_BTV, reduction="none", log_target=True)
    return temperature**2 * (each_BTV.sum(-1) * (target_BT != PAD)).sum()
