import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_until
from wd.config import Range, RayConfig, Recipe, SearchConfig
from wd.distributed.points import Candidate, trial_key
from wd.distributed.records import TrialEnd
from wd.distributed.tune import Plan, check_room, search
from wd.errors import ClusterError
from wd.tracking import Tracker, connect, open_tracker

RECIPE = Recipe(name="search", source_language="en", target_language="de")
UPDATES = 8
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]


def fitting(broken: Path) -> Callable[..., dict[str, Any]]:
    """Return a trial that fits a number to its target by gradient descent, a real if small job."""

    def trial(
        point: Mapping[str, Any], tracker: Tracker, report: Callable[[Any], None]
    ) -> dict[str, Any]:
        if point["rate"] < 0 and broken.exists():
            raise ValueError("the rate is negative")
        guess = 0.0
        with tracker.child("phase", key="phase") as phase:
            for update in range(1, UPDATES + 1):
                guess += abs(point["rate"]) * 2 * (1.0 - guess)
                score = -((1.0 - guess) ** 2)
                phase.log_metrics({"bleu": score}, step=update)
                if update < UPDATES:
                    report({"update": update, "bleu": score})
        return {"bleu": score, "guess": guess}

    return trial


def run(folder: Path, rates: list[float], said: list[TrialEnd]) -> dict[float, TrialEnd]:
    plan = Plan(
        config=SearchConfig(objectives=("bleu",), max_trials=len(rates)),
        updates=UPDATES,
        grace_updates=2,
        given=[Candidate({"rate": rate}, f"rate {rate}") for rate in rates],
        concurrent=1,
    )
    with open_tracker(RECIPE, folder) as tracker:
        ends = search(
            fitting(folder / "broken"),
            plan,
            ray=RayConfig(),
            tracker=tracker,
            folder=folder / "sweep",
            announce=said.append,
        )
    assert {end.point["rate"] for end in ends} == set(rates)
    return {end.point["rate"]: end for end in ends}


def runs(folder: Path) -> dict[str, list[Any]]:
    client = connect(f"sqlite:///{folder / 'mlflow.db'}")
    found: dict[str, list[Any]] = {}
    for one in client.search_runs(["1"]):
        found.setdefault(one.info.run_name, []).append(one)
    return found


def test_a_search_stops_the_hopeless_and_resumes(tmp_path: Path) -> None:
    rates = [0.2, 0.1, 0.01, -0.3]
    (tmp_path / "broken").touch()
    said: list[TrialEnd] = []
    ends = run(tmp_path, rates, said)

    assert [ends[rate].status for rate in rates] == ["finished", "stopped", "stopped", "failed"]
    assert ends[0.2].metrics["guess"] == pytest.approx(1 - 0.6**UPDATES)
    assert ends[0.01].metrics["update"] < UPDATES
    assert ends[-0.3].error == "ValueError: the rate is negative"
    assert len(ends[0.2].curve) == UPDATES
    found = runs(tmp_path)
    # Who was stopped did what it was to do; only what an interruption ended looks killed.
    assert {rate: found[f"rate {rate}"][0].info.status for rate in rates} == {
        0.2: "FINISHED",
        0.1: "FINISHED",
        0.01: "FINISHED",
        -0.3: "FAILED",
    }
    told = found["rate 0.1"][0].data.tags
    assert told["wd.trial.status"] == "stopped"
    assert "others were better" in told["wd.trial.reason"]
    assert any(end.status == "running" and end.curve for end in said)

    # What ended is not run again, what failed is, and new points join.
    (tmp_path / "broken").unlink()
    again = run(tmp_path, [*rates, 0.4], said)
    assert {rate: again[rate] for rate in rates[:3]} == {rate: ends[rate] for rate in rates[:3]}
    assert (again[-0.3].status, again[0.4].status) == ("finished", "finished")
    assert runs(tmp_path)["rate -0.3"][0].info.status == "FINISHED"

    # Nothing to do: no trial starts, the records answer.
    said.clear()
    assert run(tmp_path, [*rates, 0.4], said) == again
    assert said == []
    record = json.loads((tmp_path / "sweep" / f"{trial_key({'rate': 0.2})}.json").read_text())
    assert record["status"] == "finished"


def test_optuna_goes_on_from_recorded_trials(tmp_path: Path) -> None:
    def candidate(values: Mapping[str, Any]) -> Candidate:
        refused = "too slow" if values["rate"] < 0.1 else ""
        return Candidate(dict(values), f"rate {values['rate']:.3f}", values, refused=refused)

    def searched(most: int) -> list[TrialEnd]:
        plan = Plan(
            config=SearchConfig(objectives=("bleu",), max_trials=most),
            updates=UPDATES,
            grace_updates=UPDATES,
            parameters={"rate": Range(min=0.0, max=0.4)},
            candidate=candidate,
            concurrent=1,
        )
        with open_tracker(RECIPE, tmp_path) as tracker:
            return search(
                fitting(tmp_path / "broken"),
                plan,
                ray=RayConfig(),
                tracker=tracker,
                folder=tmp_path / "sweep",
                announce=lambda end: None,
            )

    first = searched(2)
    assert [end.status for end in first] == ["finished"] * 2
    more = searched(4)
    assert more[:2] == first
    assert len({end.key for end in more}) == 4
    assert all(end.point["rate"] >= 0.1 for end in more)


def test_what_has_no_room_is_told_at_once() -> None:
    with pytest.raises(ClusterError, match=r"ray\.cpus_per_worker.*64 CPUs"):
        check_room(SearchConfig(), RayConfig(cpus_per_worker=64, gpu=False))


class Holder:
    """Holds half a CPU, as a trial's training worker does."""

    def is_there(self) -> bool:
        return True


def holding(
    point: Mapping[str, Any], tracker: Tracker, report: Callable[[Any], None]
) -> dict[str, Any]:
    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    outside = PlacementGroupSchedulingStrategy(placement_group=None)
    holder = ray.remote(num_cpus=0.5)(Holder).options(scheduling_strategy=outside).remote()
    assert ray.get(holder.is_there.remote())
    for update in range(1, UPDATES):
        report({"update": update, "bleu": point["rate"]})
    return {"bleu": point["rate"]}


def test_what_a_stopped_trial_held_is_free_again(tmp_path: Path) -> None:
    import ray

    whole = ray.cluster_resources()["CPU"]
    plan = Plan(
        config=SearchConfig(objectives=("bleu",), max_trials=4, workers_per_trial=1),
        updates=UPDATES,
        grace_updates=2,
        given=[Candidate({"rate": rate}, f"rate {rate}") for rate in (0.4, 0.3, 0.2, 0.1)],
        concurrent=1,
    )
    with open_tracker(RECIPE, tmp_path) as tracker:
        ends = search(
            holding,
            plan,
            ray=RayConfig(cpus_per_worker=0.5),
            tracker=tracker,
            folder=tmp_path / "sweep",
            announce=lambda end: None,
        )
    assert [end.status for end in ends] == ["finished", "stopped", "stopped", "stopped"]
    wait_until(lambda: ray.available_resources().get("CPU") == whole)


def test_time_that_is_up_ends_a_call_and_the_next_one_goes_on(tmp_path: Path) -> None:
    def slow(
        point: Mapping[str, Any], tracker: Tracker, report: Callable[[Any], None]
    ) -> dict[str, Any]:
        for update in range(1, UPDATES):
            time.sleep(point["rate"])
            report({"update": update, "bleu": 1.0})
        return {"bleu": 1.0}

    def searched(minutes: float | None) -> dict[str, str]:
        plan = Plan(
            config=SearchConfig(objectives=("bleu",), max_trials=2, time_budget=minutes),
            updates=UPDATES,
            grace_updates=UPDATES,
            given=[Candidate({"rate": rate}, f"rate {rate}") for rate in (0.0, 2.0)],
            concurrent=1,
        )
        with open_tracker(RECIPE, tmp_path) as tracker:
            ends = search(
                slow,
                plan,
                ray=RayConfig(),
                tracker=tracker,
                folder=tmp_path / "sweep",
                announce=lambda end: None,
            )
        return {end.name: end.status for end in ends}

    first = searched(0.2)
    assert first.get("rate 2.0", "unfinished") == "unfinished"  # or it had no time to begin
    assert searched(None) == {"rate 0.0": "finished", "rate 2.0": "finished"}
