"""Ray Tune: run trials of a search space one after another, stop the hopeless ones early.

Knows nothing of pipelines: a trial is a function of (overrides, its tracker, a report function).
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray import tune

from wd.config import RayConfig, SearchConfig
from wd.distributed.accelerator import gpu_on_cluster, gpu_share
from wd.distributed.points import Candidate, Parameters, Point
from wd.distributed.records import ENDED, Records, TrialEnd
from wd.distributed.resources import Want, await_room, room, scales, watched
from wd.distributed.runtime import ensure_ray
from wd.distributed.sampling import Sampler
from wd.distributed.stopping import Stopping
from wd.distributed.watcher import FINISHED, Watcher
from wd.logs import Voice
from wd.places import Place
from wd.store.shelf import here
from wd.tracking import Tracker, attach

Report = Callable[[Mapping[str, Any]], None]
TrialFunction = Callable[[Point, Tracker, Report], dict[str, Any]]
_CONTROLLER_CPUS = 0.01
"""Of a trial whose work is done by workers of its own; Ray refuses none at all."""


@dataclass(frozen=True)
class Plan:
    """What is searched, and how trials are judged and stopped."""

    config: SearchConfig
    updates: int
    """Updates of a whole trial; each report says how many are done, as `update`."""
    grace_updates: int
    """No trial is stopped before this many."""
    given: Sequence[Candidate] = ()
    """Tried first, in this order."""
    parameters: Parameters = field(default_factory=dict)
    """What further points are made of."""
    candidate: Callable[[Mapping[str, Any]], Candidate] | None = None
    """From a choice of parameters to a point, and whether it may be tried."""
    more: Callable[[], Iterable[Candidate]] = tuple
    """Points that follow the given ones, before any is proposed: a grid."""
    seed: int = 1
    reduction_factor: int = 2
    """One in so many trials goes past each rung."""
    concurrent: int | None = None
    """Trials at a time; default: as many as the cluster has room for."""


def search(
    trial: TrialFunction,
    plan: Plan,
    *,
    ray: RayConfig,
    tracker: Tracker,
    folder: Place,
    announce: Callable[[TrialEnd], None],
) -> list[TrialEnd]:
    """Run trials under ASHA, each in a process and an MLflow run of its own.

    A trial's result is what it returns. Trials that finished or were stopped in an earlier call
    with this `folder` are not run again; those that were interrupted or failed are, and first.
    Returns all ends in the order in which the trials were started. Raises KeyboardInterrupt if the
    search was interrupted, ClusterError if the cluster has no room for a trial and will have none.
    """
    records = Records(folder)
    before = list(records.read())
    ended = {end.key: end for end in before if end.status in ENDED}
    left = plan.config.max_trials - len(ended)
    last = max((end.number for end in before), default=0)
    watcher = Watcher(plan.config.quality, tracker, records, announce, first=last)
    if left > 0:
        sampler = _sampler(plan, before, left)
        watcher.tries = sampler.names
        try:
            _fit(trial, sampler, watcher, plan, ray, tracker, here(folder) / "ray")
        finally:
            watcher.settle()
        if watcher.running and not watcher.is_out_of_time(plan.config.time_budget):
            for end in watcher.running.values():
                tracker.end_child(end.key, "KILLED")
            raise KeyboardInterrupt
        watcher.out_of_time()
    return sorted({**ended, **watcher.ends}.values(), key=lambda end: end.number)


def want_of(config: SearchConfig, ray: RayConfig) -> Want:
    """Return what a single trial wants of the cluster; joins or starts it if need be."""
    ensure_ray(ray)
    workers = max(1, config.workers_per_trial)
    gpus = gpu_share(ray, gpu_on_cluster(ray), workers)
    return Want(ray.cpus_per_worker, gpus, "ray.cpus_per_worker", workers)


def check_room(config: SearchConfig, ray: RayConfig) -> None:
    """Raise ClusterError, before hours go into a teacher, if no trial will ever find room."""
    await_room(want_of(config, ray), "sweep")


def _sampler(plan: Plan, before: Sequence[TrialEnd], left: int) -> Sampler:
    def none(values: Mapping[str, Any]) -> Candidate:
        raise AssertionError(f"nothing makes a point of {values}")

    make, known = plan.candidate or none, {one.key: one for one in plan.given}

    def given() -> Iterable[Candidate]:
        # Those that were interrupted, by what holds now: limits may have changed.
        for end in before:
            if end.status not in ENDED and (end.key in known or end.values is not None):
                yield known.get(end.key) or make(end.values or {})
        yield from plan.given
        yield from plan.more()

    # Another seed after an interruption: its first proposals would all be known ones.
    sampler = Sampler(
        plan.config,
        plan.parameters,
        make,
        given(),
        most=left,
        seed=plan.seed + len(before),
    )
    sampler.know(end for end in before if end.status in ENDED)
    return sampler


def _fit(
    trial: TrialFunction,
    sampler: Sampler,
    watcher: Watcher,
    plan: Plan,
    ray: RayConfig,
    tracker: Tracker,
    storage: Path,
) -> None:
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new one speaks even if told not to
    # It misses the logs that we do not write, and prints tracebacks that are in files as well.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    want = want_of(plan.config, ray)
    await_room(want, "sweep")
    shutil.rmtree(storage, ignore_errors=True)  # our own records are what a search resumes from
    budget = plan.config.time_budget
    tuner = tune.Tuner(
        tune.with_resources(_trainable(trial, plan.config, tracker), _bundle(plan.config, want)),
        tune_config=tune.TuneConfig(
            search_alg=sampler,
            scheduler=Stopping(
                plan.config,
                sampler.names,
                updates=plan.updates,
                grace_updates=plan.grace_updates,
                reduction_factor=plan.reduction_factor,
            ),
            num_samples=plan.config.max_trials,
            max_concurrent_trials=_concurrent(plan, want),
            time_budget_s=None if budget is None else 60 * budget,
        ),
        run_config=tune.RunConfig(
            name=storage.name, storage_path=str(storage.parent), verbose=0, callbacks=[watcher]
        ),
    )
    with watched(want, "sweep", lambda: room(want) >= want.processes):
        tuner.fit()


def _trainable(
    trial: TrialFunction, config: SearchConfig, tracker: Tracker
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    handle, quality, voice = tracker.handle(), config.quality, Voice.here()

    def report(metrics: Mapping[str, Any]) -> None:
        tune.report({quality: metrics[quality], "update": metrics["update"], "figures": metrics})

    def run(settings: dict[str, Any]) -> dict[str, Any]:
        voice.adopt()
        with attach(handle).child(settings["name"], settings["key"]) as own:
            own.set_tags({"wd.trial": settings["key"], "wd.trial.status": "running"})
            own.log_params(settings["point"])
            own.log_metrics(settings["figures"])
            result = trial(settings["point"], own, report)
            own.set_tags({"wd.trial.status": "finished"})
        return {quality: result[quality], "figures": result, FINISHED: True}

    return run


def _bundle(config: SearchConfig, want: Want) -> dict[str, float]:
    return {"CPU": _CONTROLLER_CPUS} if config.workers_per_trial else want.bundle


def _concurrent(plan: Plan, want: Want) -> int | None:
    """Return how many trials may run at a time: all must have their workers, or none goes on."""
    if not plan.config.workers_per_trial or scales():
        return plan.concurrent
    most = max(1, room(want) // want.processes)
    return min(most, plan.concurrent or most)
