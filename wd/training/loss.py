"""Label-smoothed cross-entropy (Szegedy et al. 2016, section 7)."""

from torch import Tensor
from torch.nn import functional

from wd.data.schema import PAD


def cross_entropy(logits_BTV: Tensor, target_BT: Tensor, label_smoothing: float) -> Tensor:
    """Return the sum over all target pieces (nats, float32); padding counts nothing."""
    return functional.cross_entropy(
        logits_BTV.float().flatten(0, 1),
        target_BT.flatten(),
        ignore_index=PAD,
        reduction="sum",
        label_smoothing=label_smoothing,
    )
