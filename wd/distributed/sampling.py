"""What a search tries next: given points first, then what Optuna proposes, never one twice."""

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from wd.config import SMALLER_IS_BETTER, Domain, Range, SearchConfig
from wd.distributed.points import Candidate, Parameters
from wd.distributed.records import TrialEnd

_MISSES = 300
"""So many proposals in a row that cannot be tried mean that a space is exhausted."""
logging.getLogger("optuna").setLevel(logging.WARNING)


class Sampler(OptunaSearch):
    """Serves the given candidates, then asks Optuna; refused and repeated ones are not tried.

    Optuna is told how every trial ended, those of earlier calls included, and so goes on from them.
    """

    def __init__(
        self,
        config: SearchConfig,
        parameters: Parameters,
        candidate: Callable[[Mapping[str, Any]], Candidate],
        given: Iterable[Candidate],
        *,
        most: int,
        seed: int,
    ) -> None:
        self.names: dict[str, Candidate] = {}
        """Ray's trial id -> what it tries."""
        self._given, self._most = iter(given), most
        self._parameters, self._candidate = parameters, candidate
        self._objectives = config.objectives
        self._seen: set[str] = set()
        self._only_given = config.algorithm == "grid" or not parameters
        super().__init__(
            space={name: _distribution(domain) for name, domain in parameters.items()},
            metric=list(config.objectives),
            mode=["min" if one in SMALLER_IS_BETTER else "max" for one in config.objectives],
            sampler=_sampler(config.algorithm, seed),
        )
        # What Tune is to find in every report; the rest is known.
        self._metric, self._mode = config.quality, "max"

    def know(self, ends: Iterable[TrialEnd]) -> None:
        """Take note of trials that ended before."""
        for end in ends:
            self._seen.add(end.key)
            self._add(end.values, end.metrics, failed=end.status == "failed")

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # noqa: D102
        if len(self.names) >= self._most:
            return Searcher.FINISHED
        for one in self._given:
            if one.key not in self._seen and not one.refused:
                return self._start(trial_id, one)
        for _ in range(0 if self._only_given else _MISSES):
            values = super().suggest(trial_id)
            one = self._candidate({name: _value(values[name]) for name in self._parameters})
            if one.key not in self._seen and not one.refused:
                return self._start(trial_id, one)
            self._ot_study.tell(self._ot_trials.pop(trial_id), state=_FAIL)
        return Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:  # noqa: D102
        del trial_id, result  # several objectives: Optuna takes them at the end

    def on_trial_complete(  # noqa: D102
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        one = self.names[trial_id]
        metrics = {**one.figures, **(result or {}).get("figures", {})}
        if trial_id not in self._ot_trials:
            return self._add(one.values, metrics, failed=error)
        told = _told(self._objectives, metrics)
        failed = error or told is None
        state = _FAIL if failed else optuna.trial.TrialState.COMPLETE
        self._ot_study.tell(self._ot_trials[trial_id], None if failed else told, state=state)
        return None

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: the search has records of its own, from which it goes on."""
        Path(checkpoint_path).touch()

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def _start(self, trial_id: str, one: Candidate) -> dict[str, Any]:
        self._seen.add(one.key)
        self.names[trial_id] = one
        settings = {"point": one.point, "key": one.key, "name": one.name}
        return {**settings, "figures": dict(one.figures)}

    def _add(
        self, values: Mapping[str, Any] | None, metrics: Mapping[str, Any], *, failed: bool
    ) -> None:
        told = _told(self._objectives, metrics)
        if values is None or failed or told is None or not self._parameters:
            return
        trial = optuna.trial.create_trial(
            params={name: _label(self._parameters[name], values[name]) for name in values},
            distributions=self._space,
            values=told,
        )
        self._ot_study.add_trial(trial)


_FAIL = optuna.trial.TrialState.FAIL


def _sampler(algorithm: str, seed: int) -> optuna.samplers.BaseSampler:
    if algorithm == "tpe":
        # Trials run side by side: those that run are taken to be bad, so that others are tried.
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    if algorithm == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed, population_size=20)
    return optuna.samplers.RandomSampler(seed=seed)


def _distribution(domain: Domain) -> optuna.distributions.BaseDistribution:
    if not isinstance(domain, Range):
        labels = [_label(domain, value) for value in domain]
        return optuna.distributions.CategoricalDistribution(labels)
    if domain.is_whole:
        low, high, step = int(domain.min), int(domain.max), int(domain.step or 1)
        return optuna.distributions.IntDistribution(low, high, log=domain.log, step=step)
    return optuna.distributions.FloatDistribution(
        domain.min, domain.max, log=domain.log, step=domain.step
    )


def _label(domain: Domain, value: Any) -> Any:
    """Return a value as Optuna takes it: one of a list as JSON, since it may be a list itself."""
    if isinstance(domain, Range):
        return value
    return json.dumps(value)


def _value(given: Any) -> Any:
    return json.loads(given) if isinstance(given, str) else given


def _told(objectives: Sequence[str], metrics: Mapping[str, Any]) -> list[float] | None:
    if any(metrics.get(name) is None for name in objectives):
        return None
    return [float(metrics[name]) for name in objectives]
