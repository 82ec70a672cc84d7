import random

import pytest

from wd.evaluation.significance import p_value

WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "under", "big", "small", "house", "tree"]


def _noisy(lines: list[str], rate: float, seed: int) -> list[str]:
    """Replace words at a rate."""
    draw = random.Random(seed)
    return [
        " ".join("zzz" if draw.random() < rate else word for word in line.split()) for line in lines
    ]


@pytest.fixture(scope="module")
def references() -> list[str]:
    draw = random.Random(0)
    return [" ".join(draw.choices(WORDS, k=12)) for _ in range(400)]


def test_identical_systems_do_not_differ(references: list[str]) -> None:
    system = _noisy(references, 0.3, 1)
    assert p_value(system, system, references, "en") == 1.0


def test_one_line_is_no_evidence(references: list[str]) -> None:
    system = _noisy(references, 0.3, 1)
    assert p_value([*system[:-1], "zzz"], system, references, "en") == 1.0
    assert p_value([*system[:-2], "zzz", "zzz"], system, references, "en") >= 0.5


def test_equal_scores_are_no_difference(references: list[str]) -> None:
    one, other = ([word] * len(references) for word in ("zzz", "yyy"))
    assert p_value(one, other, references, "en") == 1.0


def test_equally_good_systems_do_not_differ(references: list[str]) -> None:
    one, other = _noisy(references, 0.3, 1), _noisy(references, 0.3, 2)
    assert p_value(one, other, references, "en") > 0.1


def test_a_clearly_better_system_differs(references: list[str]) -> None:
    worse, better = _noisy(references, 0.4, 1), _noisy(references, 0.2, 2)
    assert p_value(better, worse, references, "en") < 0.01
    assert p_value(worse, better, references, "en") < 0.01


def test_the_value_repeats(references: list[str]) -> None:
    one, other = _noisy(references, 0.30, 1), _noisy(references, 0.32, 2)
    values = {p_value(one, other, references, "en") for _ in range(2)}
    assert len(values) == 1
