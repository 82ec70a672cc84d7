"""Optimization: learning rates, warm-up, dropout and the generator's start."""

from typing import get_args

from tune_spaces.space import Space
from wd.config import Domain, InitialisationConfig, Range, Recipe, TrainingConfig

_WARMUP_SHARES = (0.03, 0.1, 0.3)


def optimization(recipe: Recipe) -> Space:
    """Return the space around the recipe's own values: learning rates within a factor of four.

    Warm-ups are those of the recipe's own number of updates; whoever trains for fewer scales them.
    """
    phases = {
        "generator.training": recipe.generator.training,
        "fine_tuning": recipe.fine_tuning,
    }
    space: dict[str, Domain] = {}
    for key, phase in phases.items():
        rate = phase.learning_rate
        space[f"{key}.learning_rate"] = Range(min=rate / 4, max=rate * 4, log=True)
        space[f"{key}.warmup_updates"] = _warmups(phase)
        space[f"{key}.dropout"] = tuple(sorted({0.0, 0.1, 0.2, 0.3, phase.dropout}))
    return Space(
        space
        | {f"generator.initialisation.{key}": _choices(key) for key in ("maps", "layers", "gate")}
    )


def _choices(key: str) -> tuple[str, ...]:
    return tuple(get_args(InitialisationConfig.model_fields[key].annotation))


def _warmups(phase: TrainingConfig) -> tuple[int, ...]:
    shares = {max(1, round(phase.updates * share)) for share in _WARMUP_SHARES}
    return tuple(sorted({*shares, phase.warmup_updates}))
