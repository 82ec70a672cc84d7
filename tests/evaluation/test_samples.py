"""Which lines of a test set stand for all of it."""

import pytest

from wd.evaluation.samples import spaced


@pytest.mark.parametrize(("length", "most"), [(1, 10), (3, 10), (10, 10), (19, 10), (1000, 200)])
def test_chosen_lines_are_spread_over_all(length: int, most: int) -> None:
    places = spaced(length, most)
    assert len(places) == min(length, most)
    assert sorted(set(places)) == places
    gaps = {after - before for before, after in zip(places, [*places[1:], length], strict=True)}
    assert max(gaps, default=0) - min(gaps, default=0) <= 1
