import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from wd.config import RayConfig, Recipe
from wd.distributed.points import trial_key
from wd.distributed.tune import SearchConfig, TrialEnd, search
from wd.tracking import Tracker, connect, open_tracker

RECIPE = Recipe(name="search", source_language="en", target_language="de")
UPDATES = 8
CONFIG = SearchConfig(metric="bleu", updates=UPDATES, grace_updates=2, max_concurrent=1)
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


def run(folder: Path, rates: list[float], said: list[str]) -> dict[float, TrialEnd]:
    with open_tracker(RECIPE, folder) as tracker:
        ends = search(
            fitting(folder / "broken"),
            [{"rate": rate} for rate in rates],
            config=CONFIG,
            ray=RayConfig(),
            tracker=tracker,
            folder=folder / "sweep",
            announce=said.append,
        )
    assert [end.point["rate"] for end in ends] == rates
    return {end.point["rate"]: end for end in ends}


def statuses(folder: Path) -> dict[str, list[str]]:
    client = connect(f"sqlite:///{folder / 'mlflow.db'}")
    found: dict[str, list[str]] = {}
    for one in client.search_runs(["1"]):
        found.setdefault(one.info.run_name, []).append(one.info.status)
    return found


def test_a_search_stops_the_hopeless_and_resumes(tmp_path: Path) -> None:
    rates = [0.2, 0.1, 0.01, -0.3]
    (tmp_path / "broken").touch()
    said: list[str] = []
    ends = run(tmp_path, rates, said)

    assert [ends[rate].status for rate in rates] == ["finished", "stopped", "stopped", "failed"]
    assert ends[0.2].metrics["guess"] == pytest.approx(1 - 0.6**UPDATES)
    assert ends[0.01].metrics["update"] < UPDATES
    assert ends[-0.3].error == "ValueError: the rate is negative"
    name = {rate: f"trial {trial_key({'rate': rate})}" for rate in rates}
    found = statuses(tmp_path)
    assert {rate: found[name[rate]] for rate in rates} == {
        0.2: ["FINISHED"],
        0.1: ["KILLED"],
        0.01: ["KILLED"],
        -0.3: ["FAILED"],
    }
    assert sorted(found["phase"]) == ["FINISHED", "KILLED", "KILLED"]
    assert any(line.endswith("stopped, -0.92") for line in said)

    # What ended is not run again, what failed is, and new points join.
    (tmp_path / "broken").unlink()
    again = run(tmp_path, [*rates, 0.4], said)
    assert {rate: again[rate] for rate in rates[:3]} == {rate: ends[rate] for rate in rates[:3]}
    assert (again[-0.3].status, again[0.4].status) == ("finished", "finished")
    assert statuses(tmp_path)[name[-0.3]] == ["FINISHED"]

    # Nothing to do: no trial starts, the records answer.
    said.clear()
    assert run(tmp_path, [*rates, 0.4], said) == again
    assert said == []
    record = json.loads((tmp_path / "sweep" / f"{trial_key({'rate': 0.2})}.json").read_text())
    assert record["status"] == "finished"
