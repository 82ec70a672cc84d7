"""From the ends of trials to the report: ranked, scored on the test set, drawn, tracked."""

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.context import Run, Work
from pipelines.stages.corpus import corpus
from pipelines.stages.evaluation import test_set
from pipelines.stages.student import student
from pipelines.stages.teacher import teacher
from pipelines.studies.sweep_request import Request
from pipelines.studies.sweep_speeds import ShapeSpeeds
from pipelines.studies.sweep_trial import with_updates
from wd.artifacts import Artifact, Metrics
from wd.config import QUALITIES, Recipe, overridden
from wd.model.sizes import count_parameters, weight_bytes
from wd.tracking import Tracker

if TYPE_CHECKING:
    from wd.distributed.points import Candidate
    from wd.distributed.records import TrialEnd
    from wd.evaluation.sweep.figures import Score, Sweep, SweepTrial

VERSION = 2


def make_report(
    run: Run,
    request: Request,
    speeds: ShapeSpeeds,
    ends: "Sequence[TrialEnd]",
    refused: "Sequence[Candidate]",
    tracker: Tracker,
    digest: str,
) -> "tuple[Sweep, Path]":
    """Return a sweep's figures and the folder of its report, which is an artifact of its own."""
    from wd.evaluation.sweep.figures import Sweep
    from wd.evaluation.sweep.report import FILES

    trials = _trials(run.recipe, request, ends, refused)
    systems = _systems(run, request, trials)

    def build(work: Work) -> Metrics:
        from wd.evaluation.sweep.figures import winner
        from wd.evaluation.sweep.report import write_sweep

        scores = _scores(run, systems)
        write_sweep(_sweep(run.recipe, request, speeds, trials, scores), work.out)
        best = winner(trials)
        return {"trials": len(trials), "best": None if best is None else _brief(best)}

    told = json.dumps([one.model_dump(mode="json") for one in trials], sort_keys=True)
    made = run.stage(
        "sweep",
        version=VERSION,
        config={
            "search": run.recipe.search.model_dump(mode="json"),
            "sweep": digest,
            "trials": hashlib.sha256(told.encode()).hexdigest(),
        },
        inputs={"corpus": corpus(run), **systems},
        build=build,
    )
    sweep = Sweep.model_validate_json((made.path / "report.json").read_text(encoding="utf-8"))
    for name in FILES:
        tracker.log_file(made.path / name)
    _track(tracker, sweep)
    return sweep, made.path


def _trials(
    recipe: Recipe,
    request: Request,
    ends: "Sequence[TrialEnd]",
    refused: "Sequence[Candidate]",
) -> "list[SweepTrial]":
    from wd.distributed.records import TrialEnd
    from wd.evaluation.sweep.figures import SweepTrial, ranked

    known = {end.key for end in ends}
    others = [TrialEnd.of(one, "refused", error=one.refused) for one in refused]
    trials = [
        SweepTrial(
            key=end.key,
            name=end.name,
            status=end.status,
            reason=end.error,
            is_given=not end.point or set(end.point) == {"student"},
            overrides=dict(end.point),
            values=json.loads(json.dumps(end.values or {})),
            metrics=_numbers(end.metrics),
            curve=end.curve,
            artifacts=end.metrics.get("artifacts", {}),
            command=_command(request, end.point),
        )
        for end in (*ends, *(one for one in others if one.key not in known))
    ]
    return ranked(trials, recipe.search)


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if isinstance(value, int | float)}


def _command(request: Request, point: Mapping[str, Any]) -> str:
    return shlex.join(
        [*request.command, *(f"{key}={json.dumps(one)}" for key, one in point.items())]
    )


def _systems(run: Run, request: Request, trials: "Sequence[SweepTrial]") -> dict[str, Artifact]:
    """Return who is scored: the teacher, the first trial, and the recipe as it is if it finished.

    The last one is whom the others are compared with. The first trial is the winner, if there is
    one.
    """
    from wd.evaluation.sweep.figures import winner

    chosen = {"winner" if winner(trials) else "best over limits": trials[0]}
    plain = [one for one in trials[1:] if one.status == "finished" and not one.overrides]
    if plain:
        chosen["recipe"] = plain[0]
    systems = {"teacher": teacher(run)}
    for role, trial in chosen.items():
        changed = with_updates(overridden(run.recipe, trial.overrides), request.updates)
        with run.glance(changed) as glance:
            systems[role] = student(glance, "wd")
    return systems


def _scores(run: Run, systems: Mapping[str, Artifact]) -> "list[Score]":
    from wd.distributed.decode import translate_apart
    from wd.evaluation.compare import System, compare
    from wd.evaluation.origin import Origin
    from wd.evaluation.sweep.figures import Score

    work = partial(
        compare,
        [
            System(name, made.place, made.name, made.metrics["published"])
            for name, made in systems.items()
        ],
        test_set(run.recipe, corpus(run)),
        run.recipe.evaluation.model_copy(update={"use_sentences": 0}),
        title=f"{run.recipe.name}, the sweep's winner",
        origin=Origin.here(),
        baseline=list(systems)[-1] if len(systems) > 2 else "teacher",
    )
    report, _ = translate_apart(work, run.recipe.ray, "sweep")
    return [
        Score(
            name=row.name,
            bleu=row.quality.bleu,
            chrf=row.quality.chrf,
            speed_up=row.speed_up,
            p_value=row.p_value,
            signature=row.quality.bleu_signature,
        )
        for row in report.rows
    ]


def _sweep(
    recipe: Recipe,
    request: Request,
    speeds: ShapeSpeeds,
    trials: "Sequence[SweepTrial]",
    scores: "Sequence[Score]",
) -> "Sweep":
    from wd.evaluation.origin import Origin
    from wd.evaluation.sweep.figures import Sweep

    short, search = with_updates(recipe, request.updates), recipe.search
    quantization = recipe.evaluation.on("cpu").quantization
    assert quantization != "auto"
    model = recipe.teacher_model
    return Sweep(
        title=f"{recipe.name}: {len(trials)} students over {' '.join(request.spaces)}",
        origin=Origin.here(shlex.join(request.swept)),
        updates=short.generator.training.updates + short.fine_tuning.updates,
        objectives=search.objectives,
        ranked_by=search.ranked_by,
        limits={key: bound for key, (_, bound) in search.limits.items()},
        teacher={
            "parameters": count_parameters(model),
            "megabytes": weight_bytes(model, quantization) / 1e6,
            **speeds.teacher(),
        },
        trials=tuple(trials),
        importances=_importances(search.objectives, trials),
        scores=tuple(scores),
    )


def _importances(
    objectives: Sequence[str], trials: "Sequence[SweepTrial]"
) -> dict[str, dict[str, float]]:
    from wd.evaluation.sweep.importance import importances

    done = [one for one in trials if one.status == "finished" and one.values]
    return {
        name: importances(
            [_deciding(name, one.values) for one in done], [one.metrics[name] for one in done]
        )
        for name in objectives
    }


def _deciding(objective: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters that can matter: to size and speed those of the shape alone."""
    if objective in QUALITIES:
        return values
    return {
        name: value
        for name, value in values.items()
        if name.startswith("students.") or name.endswith(".heads")
    }


def _brief(trial: "SweepTrial") -> dict[str, Any]:
    return {"key": trial.key, "name": trial.name, **trial.metrics}


def _track(tracker: Tracker, sweep: "Sweep") -> None:
    tags = {"wd.command": sweep.origin.command, "wd.commit": sweep.origin.commit}
    if best := sweep.best:
        tracker.log_metrics({f"best_{name}": value for name, value in best.metrics.items()})
        tags |= {"wd.best_trial": best.key, "wd.best_command": best.command}
    for score in sweep.scores:
        tracker.log_metrics({"test": {score.name: {"bleu": score.bleu, "chrf": score.chrf}}})
    tracker.set_tags(tags)
