"""Optimization: learning rates, warm-up, dropout and the generator's start."""

import random
from typing import Any, get_args

from ray import tune

from wd.config import InitialisationConfig, Recipe, TrainingConfig

_WARMUP_SHARES = (0.03, 0.1, 0.3)


def optimization(recipe: Recipe, generator: random.Random) -> dict[str, Any]:
    """Return the space around the recipe's own values: learning rates within a factor of four."""
    phases = {
        "generator.training": recipe.generator.training,
        "fine_tuning": recipe.fine_tuning,
    }
    space: dict[str, Any] = {}
    for key, phase in phases.items():
        rate = phase.learning_rate
        space[f"{key}.learning_rate"] = tune.loguniform(rate / 4, rate * 4)
        space[f"{key}.warmup_updates"] = tune.choice(_warmups(phase))
        space[f"{key}.dropout"] = tune.choice([0.0, 0.1, 0.2, 0.3])
    return space | {
        f"generator.initialisation.{key}": tune.choice(_choices(key))
        for key in ("maps", "layers", "gate")
    }


def _choices(key: str) -> list[str]:
    return list(get_args(InitialisationConfig.model_fields[key].annotation))


def _warmups(phase: TrainingConfig) -> list[int]:
    return sorted({max(1, round(phase.updates * share)) for share in _WARMUP_SHARES})
