import random

import pytest

from wd.evaluation.sweep import importance
from wd.evaluation.sweep.importance import importances


def data() -> tuple[list[dict], list[float]]:
    """Trials whose target is all width, a little noise and no colour."""
    draw = random.Random(0)
    choices = [
        {"width": draw.choice([64, 128, 256]), "colour": draw.choice("rgb"), "same": [1, 2]}
        for _ in range(30)
    ]
    return choices, [one["width"] / 10 + draw.random() for one in choices]


@pytest.mark.parametrize("forest", [True, False])
def test_what_decides_has_the_largest_share(monkeypatch, forest: bool) -> None:
    if not forest:

        def absent(*args: object) -> dict:
            raise ImportError("scikit-learn")

        monkeypatch.setattr(importance, "_by_forest", absent)
    found = importances(*data())
    assert list(found) == ["width", "colour"]
    assert found["width"] > 0.75
    assert sum(found.values()) == pytest.approx(1)


def test_of_too_little_nothing_is_told() -> None:
    choices, targets = data()
    assert importances(choices[:3], targets[:3]) == {}
    assert importances(choices, [1.0] * len(choices)) == {}
    assert importances([], []) == {}
