"""What a search's driver does when a trial starts, reports or ends."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from wd.distributed.points import Candidate
from wd.distributed.records import Records, TrialEnd, went_on
from wd.tracking import Tracker

FINISHED = "finished"
"""Key of the report that is a trial's result."""
_SETTLED_SECONDS = 30.0
"""By then the process of a stopped trial is gone."""


class Watcher(tune.Callback):
    """Says what happens, says in MLflow which were stopped and why, records how trials ended."""

    def __init__(
        self,
        quality: str,
        tracker: Tracker,
        records: Records,
        announce: Callable[[TrialEnd], None],
        *,
        first: int,
    ) -> None:
        self.ends: dict[str, TrialEnd] = {}
        self.running: dict[str, TrialEnd] = {}
        self.tries: Mapping[str, Candidate] = {}
        """Ray's trial id -> what it tries."""
        self._quality, self._tracker = quality, tracker
        self._records, self._announce = records, announce
        self._number, self._began = first, time.monotonic()
        self._stopped: list[tuple[float, TrialEnd]] = []

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its settings for a resumption of its own kind. Ours needs none.
        return {}

    def on_trial_start(  # noqa: D102
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        one = self.tries[trial.trial_id]
        if one.key not in self.running:
            self._number += 1
            end = TrialEnd.of(one, "running", number=self._number)
            self._records.write(end)
            self._note(end)

    def on_trial_result(  # noqa: D102
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict, **info: Any
    ) -> None:
        before = self.running[_key(trial)]
        if not result.get(FINISHED):
            curve = (*before.curve, (result["update"], result[self._quality]))
            self._note(went_on(before, "running", metrics=result["figures"], curve=curve))

    def on_trial_complete(  # noqa: D102
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        result, before = trial.last_result, self.running[_key(trial)]
        figures = dict(result.get("figures", {}))
        if result.get(FINISHED):
            # A trial that went on from a checkpoint did not report what came before it.
            last = (figures.get("update", 0), result[self._quality])
            told = figures.pop("curve", (*before.curve, last))
            curve = tuple((update, value) for update, value in told)
            return self._end(went_on(before, "finished", metrics=figures, curve=curve))
        update = result.get("update", 0)
        reason = f"others were better at update {update}"
        end = went_on(before, "stopped", metrics=figures, error=reason)
        self._stopped.append((time.monotonic(), end))
        return self._end(end)

    def on_trial_error(  # noqa: D102
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        before = self.running[_key(trial)]
        self._tracker.end_child(before.key, "FAILED")
        # Tune has not yet copied this file to where `trial.get_error` looks for it.
        lines = Path(trial.error_file).read_text(encoding="utf-8").strip().splitlines()
        self._end(went_on(before, "failed", error=lines[-1] if lines else "no reason was told"))

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:  # noqa: D102
        self.settle(_SETTLED_SECONDS)

    def settle(self, seconds: float = 0.0) -> None:
        """Mark the runs of trials that were stopped so long ago as finished, and tell why.

        Their processes, when they go, mark them as killed, which is what interrupted ones are.
        """
        now = time.monotonic()
        while self._stopped and now - self._stopped[0][0] >= seconds:
            _, end = self._stopped.pop(0)
            self._tracker.end_child(end.key, "FINISHED")
            with self._tracker.child(end.name, end.key) as run:
                run.set_tags({"wd.trial.status": end.status, "wd.trial.reason": end.error})

    def is_out_of_time(self, minutes: float | None) -> bool:
        """Whether so much time has gone by since the search began."""
        return minutes is not None and time.monotonic() - self._began >= 60 * minutes

    def out_of_time(self) -> None:
        """End what still runs: time is up. The next call goes on with it."""
        for end in list(self.running.values()):
            self._tracker.end_child(end.key, "KILLED")
            self._end(went_on(end, "unfinished", error="the time was up; the same command goes on"))

    def _note(self, end: TrialEnd) -> None:
        self.running[end.key] = end
        self._announce(end)

    def _end(self, end: TrialEnd) -> None:
        self.running.pop(end.key, None)
        self.ends[end.key] = end
        self._records.write(end)
        self._announce(end)


def _key(trial: Trial) -> str:
    return str(trial.config["key"])
