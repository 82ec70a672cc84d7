"""The learning rate: linear warm-up, then inverse square root (Vaswani et al. 2017, eq. 3)."""

from wd.config import TrainingConfig


def learning_rate(update: int, config: TrainingConfig) -> float:
    """Return the rate of optimiser step `update`, counted from 1."""
    warmup, start = config.warmup_updates, config.initial_learning_rate
    decayed = (warmup / (max(update, warmup) + config.updates_before)) ** 0.5
    highest = config.learning_rate * decayed
    if update < warmup:
        return start + (highest - start) * update / warmup
    return highest
