"""Which validation was the best, when to stop, and which checkpoints are still wanted."""

from collections.abc import Mapping, Sequence
from typing import Any

from wd.config import TrainingConfig

History = Sequence[Mapping[str, Any]]
"""An entry for each validation: its figures, and which one it was in `phase` and `update`."""


def merit(figures: Mapping[str, Any], config: TrainingConfig) -> float:
    """Return a validation's figure that decides; more is better."""
    value = float(figures[config.best_metric])
    return -value if config.best_metric == "loss" else value


def best_updates(history: History, config: TrainingConfig) -> list[int]:
    """Return the updates whose mean may be published, the best one first; by default only that."""
    count = max(config.average_best, 1)
    ranked = sorted(history, key=lambda figures: -merit(figures, config))
    return [figures["update"] for figures in ranked[:count]]


def last_updates(history: History, config: TrainingConfig) -> list[int]:
    """Return the updates whose mean may be published, oldest first."""
    return [figures["update"] for figures in history[-config.average_last :]]


def exhausted(history: History, config: TrainingConfig) -> bool:
    """Tell whether the last `early_stopping` validations brought nothing better."""
    if config.early_stopping is None or not history:
        return False
    merits = [merit(figures, config) for figures in history]
    return len(merits) - 1 - merits.index(max(merits)) >= config.early_stopping
