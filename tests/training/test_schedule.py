"""The learning rate rises to its peak and falls from there, as far as the decay says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wd.config import TrainingConfig
from wd.training.schedule import learning_rate

DECAYS = ("inverse_sqrt", "linear", "cosine")


@given(updates=st.integers(1, 300), warmup=st.integers(1, 300), decay=st.sampled_from(DECAYS))
def test_rises_to_the_peak_then_falls(updates: int, warmup: int, decay: str) -> None:
    config = TrainingConfig(updates=updates, warmup_updates=warmup, decay=decay)
    rates = [learning_rate(update, config) for update in range(1, updates + 1)]
    rising, falling = rates[:warmup], rates[warmup - 1 :]
    assert min(rates) > 0
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
    if falling:
        assert falling[0] == pytest.approx(config.learning_rate)


def test_what_is_left_in_the_end() -> None:
    def last(updates: int, decay: str) -> float:
        config = TrainingConfig(updates=updates, warmup_updates=100, decay=decay)
        return learning_rate(updates, config) / config.learning_rate

    assert last(400, "inverse_sqrt") == pytest.approx(1 / 2)
    assert last(400, "linear") == pytest.approx(1 / 301)
    assert last(400, "cosine") < 1e-4


def test_halfway_down_both_decays_to_zero_are_at_half_the_peak() -> None:
    for decay in ("linear", "cosine"):
        config = TrainingConfig(updates=299, warmup_updates=100, decay=decay)
        assert learning_rate(200, config) == pytest.approx(config.learning_rate / 2)
