"""What counts as a fault, and what a teacher may rightly say."""

from itertools import cycle, islice

import pytest

from wd.decoding.faults import LEAST_PIECES, count_cut, fault, warn_of_cuts
from wd.decoding.lines import Hypothesis

LONG_SOURCE = tuple(range(4, 44))


def _said(*pieces: int, source: tuple[int, ...] = LONG_SOURCE, text: str = "text") -> Hypothesis:
    return Hypothesis(text, -1.0, pieces, source)


def _repeated(pieces: int, different: int) -> tuple[int, ...]:
    return tuple(islice(cycle(range(4, 4 + different)), pieces))


@pytest.mark.parametrize("pieces", [20, 40, 250])
def test_three_different_pieces_in_ten_are_enough(pieces: int) -> None:
    source = tuple(range(4, 4 + pieces))
    assert fault(_said(*_repeated(pieces, pieces * 3 // 10), source=source)) is None
    assert fault(_said(*_repeated(pieces, pieces * 3 // 10 - 1), source=source)) == "loop"


def test_as_much_as_three_times_the_source_is_no_fault() -> None:
    source = tuple(range(4, 14))
    assert fault(_said(*range(4, 34), source=source)) is None
    assert fault(_said(*range(4, 35), source=source)) == "long"


def test_what_is_short_has_no_fault() -> None:
    short = LEAST_PIECES - 1
    assert fault(_said(*[7] * short)) is None
    assert fault(_said(*range(4, 4 + short), source=(4,))) is None
    assert fault(_said(*[7] * (short + 1))) == "loop"


def test_a_source_that_goes_round_in_circles_may_be_followed() -> None:
    source = _repeated(60, 6)
    assert fault(_said(*_repeated(60, 5), source=source)) is None
    assert fault(_said(*_repeated(60, 2), source=source)) == "loop"


@pytest.mark.parametrize("text", ["", " ", "\u200b"])
def test_nothing_to_see_is_a_fault_at_any_length(text: str) -> None:
    for pieces in ((), (4,), tuple(range(4, 44))):
        assert fault(_said(*pieces, text=text)) == "blank"


def test_cuts_are_told_with_what_to_raise() -> None:
    found = [_said(7, 8, 3), _said(7, 8, 9), _said(), _said(3)]
    assert count_cut(found) == 1
    with pytest.warns(
        UserWarning, match=r"pseudo: 1 of 4 .* at 3 pieces: raise pseudo\.max_length"
    ):
        warn_of_cuts("pseudo", 1, 4, 3, "pseudo.max_length")
    with pytest.warns(UserWarning, match="at 1024 pieces: that is the most"):
        warn_of_cuts("pseudo", 1, 4, 1024, "pseudo.max_length")


@pytest.mark.filterwarnings("error")
def test_no_cuts_are_not_told() -> None:
    warn_of_cuts("pseudo", 0, 4, 3, "pseudo.max_length")
