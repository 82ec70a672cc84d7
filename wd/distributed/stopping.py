"""Which trials are stopped early: ASHA's hopeless ones, unless nobody beats them all round."""

from collections.abc import Mapping, Sequence
from typing import Any

from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from wd.config import SMALLER_IS_BETTER, SearchConfig
from wd.distributed.points import Candidate


class Stopping(ASHAScheduler):
    """ASHA judges by quality alone, and so would stop every small and fast student.

    Here it stops only whom another trial beats: one that was as good after as many updates and is
    as good in all that the shape decides. Candidates that are `kept` are never stopped.
    """

    def __init__(
        self,
        config: SearchConfig,
        tries: Mapping[str, Candidate],
        *,
        updates: int,
        grace_updates: int,
        reduction_factor: int,
    ) -> None:
        super().__init__(
            metric=config.quality,
            mode="max",
            time_attr="update",
            max_t=max(updates, grace_updates),
            grace_period=grace_updates,
            reduction_factor=reduction_factor,
            stop_last_trials=False,  # who reaches the end is to finish its work
        )
        self._tries, self._quality = tries, config.quality
        self._others = config.objectives[1:]
        self._reports: dict[str, list[tuple[int, float]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles it for a resumption of its own kind

    def on_trial_result(  # noqa: D102
        self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]
    ) -> str:
        if "update" not in result:  # a trial's result, after its last report
            return str(super().on_trial_result(tune_controller, trial, result))
        report = result["update"], result[self._quality]
        self._reports.setdefault(trial.trial_id, []).append(report)
        decision: str = super().on_trial_result(tune_controller, trial, result)
        if decision == TrialScheduler.STOP and not self._is_beaten(trial.trial_id, report):
            return str(TrialScheduler.CONTINUE)
        return decision

    def _is_beaten(self, trial: str, report: tuple[int, float]) -> bool:
        """Whether a trial may be stopped for what another one showed after as many updates."""
        update, quality = report
        if self._tries[trial].kept:
            return False
        return any(
            other != trial
            and (then := _at(reports, update)) is not None
            and then >= quality
            and self._is_as_good(self._tries[other], self._tries[trial])
            for other, reports in self._reports.items()
        )

    def _is_as_good(self, one: Candidate, other: Candidate) -> bool:
        return all(
            name not in other.figures
            or _signed(name, one.figures.get(name, 0.0)) >= _signed(name, other.figures[name])
            for name in self._others
        )


def _at(reports: Sequence[tuple[int, float]], update: int) -> float | None:
    """Return the quality after so many updates; None of a trial that is not so far."""
    if reports[-1][0] < update:
        return None
    return max((pair for pair in reports if pair[0] <= update), default=(0, None))[1]


def _signed(name: str, value: float) -> float:
    return -value if name in SMALLER_IS_BETTER else value
