"""One trial of a sweep: both phases of a student, through the ordinary stages."""

from collections.abc import Callable, Mapping
from typing import Any

from pipelines.context import Run
from pipelines.stages.outside import Outside
from wd.config import Recipe, TrainingConfig, overridden
from wd.tracking import Tracker

_PHASES = ("generator.training", "fine_tuning")
_QUALITIES = ("bleu", "chrf")
_SETTINGS = ("updates", "learning_rate", "warmup_updates", "dropout")


def trial(
    outside: Outside,
    updates: int | None,
    point: Mapping[str, Any],
    tracker: Tracker,
    report: Callable[[Any], None],
) -> dict[str, Any]:
    """Run both phases of the recipe with a point's overrides, and return what the student can do.

    `updates` replaces those of each phase, after the point has: what a point says holds for the
    recipe's own number of them.
    """
    from pipelines.stages.generator import generator
    from pipelines.stages.student import student

    changed = with_updates(overridden(outside.recipe, point), updates)
    first = changed.generator.training.updates
    total = first + changed.fine_tuning.updates
    tracker.log_params(_described(changed))

    def on_validation(figures: dict[str, Any]) -> None:
        done = figures["update"] + (0 if figures["phase"] == "generator" else first)
        qualities = {name: figures[name] for name in _QUALITIES}
        tracker.log_metrics({"validation": figures, **qualities}, step=done)
        if done < total:  # else nothing is left to be saved by stopping
            report({**qualities, "update": done})

    answers = outside.answers_for(changed)
    with Run(
        changed, on_validation=on_validation, parent=tracker, quiet=True, answers=answers
    ) as run:
        phases = {"generator": generator(run), "student": student(run, "wd")}
    made = {role: artifact.name for role, artifact in phases.items()}
    best = phases["student"].metrics["validation"]
    qualities = {name: best[name] for name in _QUALITIES}
    tracker.log_metrics(qualities, step=total)
    tracker.set_tags({f"wd.artifact.{role}": name for role, name in made.items()})
    histories = [artifact.metrics["history"] for artifact in phases.values()]
    quality = changed.search.quality
    return {
        **qualities,
        "update": total,
        "training_seconds": sum(one.metrics["training_seconds"] for one in phases.values()),
        "artifacts": made,
        "curve": [
            (entry["update"] + before, entry[quality])
            for before, history in zip((0, first), histories, strict=True)
            for entry in history
        ],
    }


def _described(recipe: Recipe) -> dict[str, Any]:
    """Return what a trial is, so that any two can be compared, whatever their overrides name."""
    model, generator = recipe.student_model, recipe.generator
    phases = (generator.training, recipe.fine_tuning)
    return {
        "encoder": model.encoder.model_dump(),
        "decoder": model.decoder.model_dump(),
        "grouping": generator.grouping.model_dump(mode="json"),
        "initialisation": generator.initialisation.model_dump(mode="json"),
        **{
            f"phase {number}": {key: getattr(phase, key) for key in _SETTINGS}
            for number, phase in enumerate(phases, start=1)
        },
    }


def with_updates(recipe: Recipe, updates: int | None) -> Recipe:
    """Return the recipe with another number of updates per phase, warm-up and so on in step."""
    if updates is None:
        return recipe
    changes: dict[str, int] = {}
    for key, phase in zip(_PHASES, (recipe.generator.training, recipe.fine_tuning), strict=True):
        changes[f"{key}.updates"] = updates
        for name in ("warmup_updates", "validate_every"):
            changes[f"{key}.{name}"] = _scaled(phase, name, updates)
    return overridden(recipe, changes)


def _scaled(phase: TrainingConfig, name: str, updates: int) -> int:
    return max(1, round(getattr(phase, name) * updates / phase.updates))
