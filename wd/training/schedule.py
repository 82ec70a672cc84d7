"""The learning rate: a linear warm-up, then a decay of the chosen kind."""

from math import cos, pi

from wd.config import TrainingConfig


def learning_rate(update: int, config: TrainingConfig) -> float:
    """Return the rate of optimiser step `update`, counted from 1.

    By inverse square root as Vaswani et al. 2017, equation 3; linear and cosine decays end just
    above zero with the last update.
    """
    peak, start, warmup = (
        config.learning_rate,
        config.initial_learning_rate,
        config.warmup_updates,
    )
    if update < warmup:
        return start + (peak - start) * update / warmup
    if config.decay == "inverse_sqrt":
        return peak * (warmup / update) ** 0.5
    left = (config.updates + 1 - update) / (config.updates + 1 - warmup)
    return peak * (left if config.decay == "linear" else (1 - cos(pi * left)) / 2)
