import pytest

from wd.config import SearchConfig, broken_limits, validated
from wd.errors import ConfigError


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"objectives": ["speed"]}, "bleu"),
        ({"objectives": ["speed_up", "bleu"]}, "first one must be bleu or chrf"),
        ({"objectives": []}, "first one must be bleu or chrf"),
        ({"objectives": ["bleu", "bleu"]}, "names one twice"),
        ({"max_megabytes": 0}, "max_megabytes"),
        ({"max_trails": 4}, "did you mean max_trials"),
    ],
)
def test_what_cannot_be_searched_for_is_refused(section: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validated(SearchConfig, section, "search")


def test_limits_bound_from_above_or_below_and_only_what_is_known() -> None:
    config = SearchConfig(max_parameters=100, min_speed_up=2.5, min_bleu=30.0, max_trials=3)
    assert set(config.limits) == {"max_parameters", "min_speed_up", "min_bleu"}
    assert broken_limits(config, {"parameters": 100, "speed_up": 2.5}) == []
    assert broken_limits(config, {"parameters": 101}) == [("max_parameters", 100)]
    assert broken_limits(config, {"speed_up": 2.4, "bleu": 29.0}) == [
        ("min_speed_up", 2.5),
        ("min_bleu", 30.0),
    ]
    assert broken_limits(config, {}) == []
