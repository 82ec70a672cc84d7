from hypothesis import given
from hypothesis import strategies as st

from wd.config import SearchConfig
from wd.evaluation.sweep.figures import SweepTrial, front, ranked


def trial(key: str, status: str = "finished", **metrics: float) -> SweepTrial:
    return SweepTrial(
        key=key, name=key, status=status, overrides={}, metrics=metrics, command="wd run r"
    )


def test_the_front_is_who_is_beaten_by_nobody() -> None:
    rows = [
        {"bleu": 30.0, "speed_up": 1.0},
        {"bleu": 29.0, "speed_up": 2.0},
        {"bleu": 28.0, "speed_up": 1.5},
        {"bleu": 29.0, "speed_up": 2.0},
    ]
    assert front(rows, ["bleu", "speed_up"]) == [True, True, False, True]
    small = [{"bleu": 30.0, "megabytes": 9.0}, {"bleu": 30.0, "megabytes": 8.0}]
    assert front(small, ["bleu", "megabytes"]) == [False, True]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30))
def test_everybody_off_the_front_is_beaten_by_somebody_on_it(pairs: list[tuple[int, int]]) -> None:
    rows = [{"bleu": float(a), "speed_up": float(b)} for a, b in pairs]
    marks = front(rows, ["bleu", "speed_up"])
    assert any(marks)
    best = [pair for pair, on_front in zip(pairs, marks, strict=True) if on_front]
    for pair, on_front in zip(pairs, marks, strict=True):
        beaten = any(a >= pair[0] and b >= pair[1] and (a, b) != pair for a, b in best)
        assert beaten != on_front


def test_who_breaks_a_limit_does_not_win() -> None:
    trials = [
        trial("slow", bleu=31.0, speed_up=1.2),
        trial("good", bleu=30.0, speed_up=2.6),
        trial("fast", bleu=20.0, speed_up=9.0),
        trial("stopped", "stopped", bleu=40.0, speed_up=3.0),
        trial("failed", "failed"),
    ]
    config = SearchConfig(min_speed_up=2.5, min_bleu=25.0)
    found = ranked(trials, config)
    assert [one.key for one in found] == ["good", "slow", "fast", "stopped", "failed"]
    assert [one.within_limits for one in found[:3]] == [True, False, False]
    assert found[1].reason == "search.min_speed_up 2.5"
    assert [one.key for one in found if one.on_front] == ["good", "slow", "fast"]
    fastest = ranked(trials, SearchConfig(min_bleu=25.0, rank_by="speed_up"))
    assert fastest[0].key == "good"
