"""Every number of a recipe has bounds, and no value passes for one of another kind."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from pipelines.tools.keys import schema
from wd.config import Recipe, StudentShape, overridden
from wd.errors import ConfigError

BARE = Recipe(
    name="bare", source_language="en", target_language="de", students={"tiny": StudentShape()}
)
UNBOUNDED: Mapping[str, str] = {}
"""Key -> why its number needs no bound."""


def leaves(section: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every key of a JSON Schema's section with what it takes, one by one."""
    whole = schema()["$defs"]
    for name, field in section["properties"].items():
        waiting = [(f"{path}{name}", field)]
        while waiting:
            key, one = waiting.pop()
            waiting += [(key, each) for each in (*one.get("anyOf", ()), *one.get("oneOf", ()))]
            waiting += [(key, each) for each in one.get("prefixItems", ())]
            waiting += [(key, one["items"])] if "items" in one else []
            waiting += [(f"{key}.tiny", each) for each in one.get("patternProperties", {}).values()]
            if "$ref" in one:
                yield from leaves(whole[one["$ref"].rpartition("/")[2]], f"{key}.")
            elif "type" in one:
                yield key, one


LEAVES = list(leaves(schema()))
NUMBERS = {key: one for key, one in LEAVES if one["type"] in ("integer", "number")}
SINGLE = {
    kind: [
        key
        for key, one in LEAVES
        if one["type"] == kind
        and not any(key == other and each["type"] == "array" for other, each in LEAVES)
    ]
    for kind in ("integer", "number", "boolean")
}


def changed(key: str, value: Any) -> Recipe:
    return overridden(BARE, {key: value})


def test_the_keys_are_all_there() -> None:
    assert {"students.tiny.encoder.layers", "fine_tuning.adam_betas", "ray.workers"} <= set(NUMBERS)
    assert "generator.grouping.encoder_subsets" in NUMBERS
    assert "ray.gpu" in SINGLE["boolean"]


@pytest.mark.parametrize("key", NUMBERS)
def test_a_number_has_bounds_that_its_schema_tells(key: str) -> None:
    if key in UNBOUNDED:
        return
    field = NUMBERS[key]
    assert {"minimum", "exclusiveMinimum"} & field.keys()
    assert {"maximum", "exclusiveMaximum"} & field.keys()


@pytest.mark.parametrize("key", [*SINGLE["integer"], *SINGLE["number"]])
def test_no_number_is_accepted_whatever_its_size(key: str) -> None:
    for value in (10**16, -(10**16), 10**400, 1e308, -1e308, math.nan, math.inf):
        with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
            changed(key, value)


@pytest.mark.parametrize("key", SINGLE["integer"])
def test_a_whole_number_is_nothing_else(key: str) -> None:
    for value in (True, "1", 1.5, 1.0, [1]):
        with pytest.raises(ConfigError, match="valid integer"):
            changed(key, value)


@pytest.mark.parametrize("key", SINGLE["number"])
def test_a_number_is_no_truth_and_no_text_but_may_be_whole(key: str) -> None:
    for value in (True, "0.5"):
        with pytest.raises(ConfigError, match="number, not"):
            changed(key, value)
    for whole in (0, 1):
        try:
            expected = changed(key, float(whole))
        except ConfigError:  # beyond its bounds
            continue
        assert changed(key, whole) == expected


@pytest.mark.parametrize("key", SINGLE["boolean"])
def test_a_truth_is_no_number_and_no_text(key: str) -> None:
    for value in (1, 0, "yes", "true"):
        with pytest.raises(ConfigError, match=r"boolean.*, not"):
            changed(key, value)


@pytest.mark.parametrize(
    ("key", "value"),
    [("generator.grouping.encoder_subsets", [True, 5]), ("fine_tuning.adam_betas", [False, 0.9])],
)
def test_nor_is_one_in_a_list(key: str, value: list[Any]) -> None:
    with pytest.raises(ConfigError, match=r"\.0: .* not (True|False)"):
        changed(key, value)
