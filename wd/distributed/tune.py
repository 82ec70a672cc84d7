"""Ray Tune: run one trial per point of a search space, stop the hopeless ones early.

Knows nothing of pipelines: a trial is a function of (overrides, its tracker, a report function).
"""

import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler

from wd.config import RayConfig
from wd.distributed.accelerator import gpu_on_cluster, gpu_share
from wd.distributed.points import Point, trial_key
from wd.distributed.resources import Want, await_room, room, watched
from wd.distributed.runtime import ensure_ray
from wd.files import whole
from wd.tracking import Tracker, attach

Report = Callable[[Mapping[str, Any]], None]
TrialFunction = Callable[[Point, Tracker, Report], dict[str, Any]]
_FINISHED = "finished"


@dataclass(frozen=True)
class SearchConfig:
    """How a search judges and stops trials."""

    metric: str
    """Larger is better; every report and a trial's result hold it."""
    updates: int
    """Updates of a whole trial; each report says how many are done, as `update`."""
    grace_updates: int
    """No trial is stopped before this many."""
    reduction_factor: int = 2
    """One in so many trials goes past each rung."""
    max_concurrent: int | None = None
    """Trials at a time; default: as many as the cluster has room for."""


@dataclass(frozen=True)
class TrialEnd:
    """How one trial ended."""

    key: str
    point: Point
    status: str
    """finished, stopped (early), failed, or unfinished (the search was interrupted)."""
    metrics: Mapping[str, Any]
    """The trial's result, or its last report."""
    error: str = ""


def search(
    trial: TrialFunction,
    points: Sequence[Point],
    *,
    config: SearchConfig,
    ray: RayConfig,
    tracker: Tracker,
    folder: Path,
    announce: Callable[[str], None],
) -> list[TrialEnd]:
    """Run a trial per point under ASHA, each in a process and an MLflow run of its own.

    A trial's result is what it returns. Trials that finished or were stopped in an earlier call
    with this `folder` are not run again. Returns the ends in the points' order.
    Raises KeyboardInterrupt if the search was interrupted, ClusterError if the cluster has no room
    for a trial and will have none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ends = _recorded(folder, points)
    todo = [point for point in points if trial_key(point) not in ends]
    if todo:
        watcher = _Watcher(config, tracker, folder, announce)
        _fit(trial, todo, config, ray, tracker, folder / "ray", watcher)
        ends |= watcher.ends
        left = [trial_key(point) for point in todo if trial_key(point) not in ends]
        for key in left:
            tracker.end_child(key, "KILLED")
        if left:
            raise KeyboardInterrupt
    return [ends[trial_key(point)] for point in points]


def _fit(
    trial: TrialFunction,
    points: Sequence[Point],
    config: SearchConfig,
    ray: RayConfig,
    tracker: Tracker,
    storage: Path,
    watcher: "_Watcher",
) -> None:
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new one speaks even if told not to
    # It misses the logs that we do not write, and prints tracebacks that are in files as well.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    ensure_ray(ray)
    shutil.rmtree(storage, ignore_errors=True)  # our own records are what a search resumes from
    handle = tracker.handle()

    def report(metrics: Mapping[str, Any]) -> None:
        judged = {key: metrics[key] for key in (config.metric, "update")}
        tune.report({**judged, "figures": dict(metrics)})

    def run(settings: dict[str, Any]) -> dict[str, Any]:
        point = settings["point"]
        key = trial_key(point)
        with attach(handle).child(f"trial {key}", key) as own:
            own.log_params(point)
            result = trial(point, own, report)
        return {config.metric: result[config.metric], "figures": result, _FINISHED: True}

    want = Want(ray.cpus_per_worker, gpu_share(ray, gpu_on_cluster(ray)), "ray.cpus_per_worker")
    await_room(want, "sweep")
    tuner = tune.Tuner(
        tune.with_resources(run, want.bundle),
        param_space={"point": tune.grid_search(list(points))},
        tune_config=tune.TuneConfig(
            metric=config.metric,
            mode="max",
            scheduler=_scheduler(config),
            max_concurrent_trials=config.max_concurrent,
        ),
        run_config=tune.RunConfig(
            name=storage.name, storage_path=str(storage.parent), verbose=0, callbacks=[watcher]
        ),
    )
    with watched(want, "sweep", lambda: room(want) > 0):
        tuner.fit()


def _scheduler(config: SearchConfig) -> ASHAScheduler:
    return ASHAScheduler(
        time_attr="update",
        max_t=max(config.updates, config.grace_updates),
        grace_period=config.grace_updates,
        reduction_factor=config.reduction_factor,
        stop_last_trials=False,  # who reaches the end is to finish its work
    )


class _Watcher(tune.Callback):
    """Says what happens, ends the MLflow runs of stopped trials, records how trials ended."""

    def __init__(
        self,
        config: SearchConfig,
        tracker: Tracker,
        folder: Path,
        announce: Callable[[str], None],
    ) -> None:
        self.ends: dict[str, TrialEnd] = {}
        self._config, self._tracker = config, tracker
        self._folder, self._announce = folder, announce

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its settings for a resumption of its own kind. Ours needs none.
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict, **info: Any
    ) -> None:
        if not result.get(_FINISHED):
            progress = f"update {result['update']}, {self._config.metric} {self._value(result)}"
            self._announce(f"trial {_key(trial)}: {progress}")

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        result = trial.last_result
        if result.get(_FINISHED):
            end = self._end(trial, "finished")
        else:
            self._tracker.end_child(_key(trial), "KILLED")
            end = self._end(trial, "stopped")
        _record(self._folder, end)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._tracker.end_child(_key(trial), "FAILED")
        # Tune has not yet copied this file to where `trial.get_error` looks for it.
        lines = Path(trial.error_file).read_text(encoding="utf-8").strip().splitlines()
        self._end(trial, "failed", lines[-1])

    def _end(self, trial: Trial, status: str, error: str = "") -> TrialEnd:
        figures = trial.last_result.get("figures", {})
        end = TrialEnd(_key(trial), trial.config["point"], status, figures, error)
        self.ends[end.key] = end
        self._announce(f"trial {end.key}: {status}, {error or self._value(end.metrics)}")
        return end

    def _value(self, metrics: Mapping[str, Any]) -> str:
        value = metrics.get(self._config.metric)
        return "-" if value is None else f"{value:.2f}"


def _key(trial: Trial) -> str:
    return trial_key(trial.config["point"])


def _record(folder: Path, end: TrialEnd) -> None:
    with whole(folder / f"{end.key}.json") as partial:
        partial.write_text(json.dumps(asdict(end), indent=2), encoding="utf-8")


def _recorded(folder: Path, points: Sequence[Point]) -> dict[str, TrialEnd]:
    files = [folder / f"{trial_key(point)}.json" for point in points]
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()]
    return {end["key"]: TrialEnd(**end) for end in found}
