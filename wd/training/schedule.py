"""The learning rate: linear warm-up, then inverse square root (Vaswani et al. 2017, eq. 3)."""

from wd.config import TrainingConfig


def learning_rate(update: int, config: TrainingConfig) -> float:
    """Return the rate of optimiser step `update`, counted from 1."""
    peak, start, warmup = (
        config.learning_rate,
        config.initial_learning_rate,
        config.warmup_updates,
    )
    if update < warmup:
        return start + (peak - start) * update / warmup
    return peak * (warmup / update) ** 0.5
