"""Search student shapes, groupings and optimization settings by validation BLEU.

Everything up to the pseudo-data is made once. Each trial then runs both phases in a process of
its own through the ordinary stages, so its artifacts are those of a run with its overrides.
The test set is not looked at.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table

from pipelines.context import Run
from pipelines.stages.student import check_possible
from wd.config import Recipe, TrainingConfig, overridden
from wd.errors import ConfigError, UserError
from wd.model.sizes import count_parameters
from wd.tracking import Tracker

METRIC = "bleu"
_PHASES = ("generator.training", "fine_tuning")


def sweep(
    recipe: Recipe,
    spaces: Sequence[str],
    *,
    trials: int,
    updates: int | None = None,
    concurrent: int | None = None,
    seed: int = 1,
) -> dict[str, Any]:
    """Run the trials and return them all, the best one first, with the overrides that make it.

    `updates` replaces those of each phase, whose other settings are scaled along. The same
    arguments again go on with a killed sweep; more trials add to a finished one.
    Raises ConfigError for an unknown space or an impossible student, UserError if no trial
    finished.
    """
    short = with_updates(recipe, updates)
    phases = (short.generator.training, short.fine_tuning)
    if not all(phase.bleu_sentences for phase in phases):
        raise ConfigError("bleu_sentences must not be 0: a sweep compares trials by BLEU")
    request: dict[str, Any] = {"spaces": sorted(set(spaces)), "updates": updates, "seed": seed}
    with Run(recipe) as run:
        points = _points(run, short, request, trials)
        for point in points:
            check_possible(overridden(short, point), "wd")
        _make_inputs(run)
        key = _key(short, request)
        with run.tracker.child(f"sweep {' '.join(request['spaces'])}", key=key) as tracker:
            tracker.log_params(request)
            ends = _search(run, short, points, tracker, key, concurrent)
            return _summary(tracker, ends)


def table(result: Mapping[str, Any]) -> Table:
    """Return a sweep's result as a table for the terminal; what never varies is left out."""
    points = [trial["overrides"] for trial in result["trials"]]
    varied = [key for key in points[0] if len({str(point.get(key)) for point in points}) > 1]
    names = {key: _short(key, varied) for key in varied}
    shown = Table("trial", "status", "BLEU", "size", "overrides", title="validation BLEU")
    for column in shown.columns[:-1]:
        column.no_wrap = True
    for trial in result["trials"]:
        metrics, point = trial["metrics"], trial["overrides"]
        shown.add_row(
            trial["key"],
            trial["status"],
            _figure(metrics.get(METRIC)),
            _figure(metrics.get("compression")),
            ", ".join(f"{name} {_shown(point.get(key))}" for key, name in names.items()),
        )
    return shown


def trial(
    recipe: Recipe, point: dict[str, Any], tracker: Tracker, report: Callable[[Any], None]
) -> dict[str, Any]:
    """Run both phases with a point's overrides and return what the student is and can do."""
    from pipelines.stages.generator import generator
    from pipelines.stages.student import student

    changed = overridden(recipe, point)
    first = changed.generator.training.updates
    total = first + changed.fine_tuning.updates

    sizes = count_parameters(changed.teacher_model), count_parameters(changed.student_model)
    size = {"parameters": sizes[1], "compression": sizes[1] / sizes[0]}
    tracker.log_metrics(size)

    def on_validation(figures: dict[str, Any]) -> None:
        done = figures["update"] + (0 if figures["phase"] == "generator" else first)
        tracker.log_metrics({"validation": figures, METRIC: figures[METRIC]}, step=done)
        if done < total:  # else nothing is left to be saved by stopping
            report({**size, **figures, "update": done})

    quiet = Console(quiet=True)
    with Run(changed, on_validation=on_validation, parent=tracker, console=quiet) as run:
        phases = {"generator": generator(run), "student": student(run, "wd")}
    made = {role: artifact.name for role, artifact in phases.items()}
    bleu = phases["student"].metrics["validation"][METRIC]
    tracker.log_metrics({METRIC: bleu})
    tracker.set_tags({f"wd.artifact.{role}": name for role, name in made.items()})
    return {METRIC: bleu, **size, "artifacts": made}


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


def _points(
    run: Run, recipe: Recipe, request: Mapping[str, Any], trials: int
) -> list[dict[str, Any]]:
    from wd.distributed.runtime import prepare_ray

    prepare_ray(recipe.ray)  # before the modules below import Ray
    from tune_spaces import search_space
    from wd.distributed.points import draw

    points = draw(search_space(recipe, request["spaces"], request["seed"]), trials, request["seed"])
    if len(points) < trials:
        run.console.print(f"the space holds {len(points)} different points: as many trials")
    return points


def _make_inputs(run: Run) -> None:
    """Make what all trials share, here and once."""
    from pipelines.stages.pseudo import pseudo_shards
    from pipelines.stages.shards import shards

    shards(run)
    pseudo_shards(run)


def _key(recipe: Recipe, request: Mapping[str, Any]) -> str:
    base = recipe.model_dump(mode="json", exclude={"ray", "root", "tracking"})
    return json.dumps({"recipe": base, **request}, sort_keys=True)


def _search(
    run: Run,
    recipe: Recipe,
    points: list[dict[str, Any]],
    tracker: Tracker,
    key: str,
    concurrent: int | None,
) -> list[Any]:
    from wd.distributed.tune import SearchConfig, search

    phases = (recipe.generator.training, recipe.fine_tuning)
    updates = sum(phase.updates for phase in phases)
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    return search(
        partial(trial, overridden(recipe, run.elsewhere())),
        points,
        config=SearchConfig(
            metric=METRIC,
            updates=updates,
            grace_updates=max(phases[0].validate_every, updates // 4),
            max_concurrent=concurrent,
        ),
        ray=recipe.ray,
        tracker=tracker,
        folder=run.store.folder / ".work" / "sweep" / digest,
        announce=partial(run.console.print, highlight=False),
    )


def _summary(tracker: Tracker, ends: Sequence[Any]) -> dict[str, Any]:
    """Return the trials, finished ones first and the best of them before the others."""
    finished = [end for end in ends if end.status == "finished"]
    if not finished:
        raise UserError(
            f"no trial of {len(ends)} finished: "
            + "; ".join(f"{end.key} {end.status} {end.error}".strip() for end in ends)
        )
    ranked = sorted(
        ends, key=lambda end: (end.status == "finished", end.metrics.get(METRIC, -1)), reverse=True
    )
    best = ranked[0]
    tracker.log_metrics({f"best_{METRIC}": best.metrics[METRIC]})
    tracker.set_tags({"wd.best_trial": best.key})
    trials = [
        {
            "key": end.key,
            "status": end.status,
            "overrides": end.point,
            "metrics": dict(end.metrics),
            **({"error": end.error} if end.error else {}),
        }
        for end in ranked
    ]
    return {"best": trials[0], "trials": trials}


def _short(key: str, others: Sequence[str]) -> str:
    """Return as much of a dotted key's end as tells it from the others."""
    parts = key.split(".")
    for start in range(len(parts) - 1, 0, -1):
        end = ".".join(parts[start:])
        if sum(f".{other}".endswith(f".{end}") for other in others) == 1:
            return end
    return key


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _shown(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)
