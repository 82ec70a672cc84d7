from pathlib import Path

import pytest

from wd.config import Range, Recipe, read_space, validated
from wd.errors import ConfigError

RECIPE = Recipe(name="r", source_language="en", target_language="de")


def written(folder: Path, text: str) -> Path:
    path = folder / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_lists_and_ranges_are_read(tmp_path: Path) -> None:
    text = """
students.tiny.decoder.layers: [1, 2]
students.tiny.decoder.d_model: {min: 128, max: 512, step: 128}
fine_tuning.learning_rate: {min: 1.0e-4, max: 1.0e-3, log: true}
generator.grouping.learned_maps: [[layer], [input, output]]
"""
    space = read_space(written(tmp_path, text), RECIPE)
    assert space["students.tiny.decoder.layers"] == (1, 2)
    width, rate = space["students.tiny.decoder.d_model"], space["fine_tuning.learning_rate"]
    assert isinstance(width, Range)
    assert width.grid() == (128, 256, 384, 512)
    assert isinstance(rate, Range)
    assert rate.grid()[0] == pytest.approx(1e-4)
    assert rate.at(0.5) == pytest.approx(10**-3.5)
    assert space["generator.grouping.learned_maps"] == (("layer",), ("input", "output"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "the space is empty"),
        ("students.tiny.decoder.layers: []", "decoder.layers: the list is empty"),
        ("students.tiny.decoder.layerz: [1]", r"unknown key .*layerz; did you mean .*layers"),
        ("students.tiny.decoder.layers: [1, many]", "decoder.layers.*many"),
        ("students.tiny.decoder.layers: 3", "must be a list of values or a range"),
        ("students.tiny.decoder.layers: {min: 3, max: 1}", "min 3 is above max 1"),
        ("students.tiny.decoder.layers: {min: 1, max: 3, stap: 1}", "did you mean step"),
        ("students.tiny.decoder.layers: {min: 0, max: 3, log: true}", "log needs a min above 0"),
        ("fine_tuning.dropout: {min: 0.0, max: 3.0}", "fine_tuning.dropout"),
        ("- a", "a space is a mapping"),
        ("a: [", "not valid YAML"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        read_space(written(tmp_path, text), RECIPE)
    assert "space.yaml" in str(error.value)


def test_an_absent_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_space(tmp_path / "space.yaml", RECIPE)


def test_values_that_only_another_key_makes_possible_are_taken(tmp_path: Path) -> None:
    # 100 is no multiple of the recipe's 8 heads, but of 10.
    text = "students.tiny.decoder.d_model: [100]\nstudents.tiny.decoder.heads: [10]"
    assert len(read_space(written(tmp_path, text), RECIPE)) == 2


@pytest.mark.parametrize(
    ("value", "held"),
    [(128, True), (384, True), (200, False), (640, False), (128.0, False), (True, False)],
)
def test_a_range_holds_its_steps(value: object, held: bool) -> None:
    assert validated(Range, {"min": 128, "max": 512, "step": 128}, "").holds(value) is held
