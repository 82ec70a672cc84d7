from types import SimpleNamespace
from typing import Any

import pytest

from wd.config import SearchConfig
from wd.distributed.points import Candidate
from wd.distributed.stopping import Stopping

UPDATES = (2, 4, 8)


def candidate(name: str, speed_up: float, *, kept: bool = False) -> Candidate:
    return Candidate({"n": name}, name, figures={"speed_up": speed_up}, kept=kept)


def decisions(qualities: dict[str, float], tries: dict[str, Candidate]) -> dict[str, str]:
    """Return what is decided on trials that report in turn, the first ones first, at update 2."""
    stopping: Any = Stopping(SearchConfig(), tries, updates=8, grace_updates=2, reduction_factor=2)
    found = {}
    for name in qualities:
        stopping.on_trial_add(None, SimpleNamespace(trial_id=name))
    for name, quality in qualities.items():
        trial: Any = SimpleNamespace(trial_id=name, stopped=False)
        report = {"bleu": quality, "update": 2, "training_iteration": 1}
        found[name] = stopping.on_trial_result(None, trial, report)
        # Its result is no report: it says nothing of how far it is.
        stopping.on_trial_result(None, trial, {"bleu": quality, "training_iteration": 2})
    return found


@pytest.mark.parametrize(
    ("speed_up", "kept", "decision"),
    [(1.0, False, "STOP"), (9.0, False, "CONTINUE"), (1.0, True, "CONTINUE")],
)
def test_only_who_is_beaten_in_everything_is_stopped(
    speed_up: float, kept: bool, decision: str
) -> None:
    tries = {"good": candidate("good", 2.0), "bad": candidate("bad", speed_up, kept=kept)}
    found = decisions({"good": 30.0, "bad": 10.0}, tries)
    assert found == {"good": "CONTINUE", "bad": decision}
