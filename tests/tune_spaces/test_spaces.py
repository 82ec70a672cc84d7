import json
import random
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.studies.sweep_points import Points
from tune_spaces import SPACES, search_space
from tune_spaces.grouping import composition, even, share_of
from wd.config import ModelConfig, Recipe, overridden, validated
from wd.distributed.points import Candidate, draw, grid
from wd.errors import ConfigError
from wd.generator.choices import generable_classes
from wd.generator.grouping import subset_sizes

STACK = {"layers": 4, "d_model": 24, "heads": 6, "feed_forward": 32}
PLAIN = {
    "name": "r",
    "source_language": "en",
    "target_language": "de",
    "tokenizer": {"vocabulary_size": 50, "byte_fallback": False},
    "teacher": {"shape": {"encoder": STACK, "decoder": STACK}},
    "students": {"tiny": {"decoder": {"layers": 2, "d_model": 12}}},
}


class Untimed:
    """Speeds that nobody measures: of a shape, what its layers suggest."""

    def student(self, model: ModelConfig) -> dict[str, float]:
        return {"speed_up": 4.0 / model.decoder.layers, "milliseconds": 1.0}

    def teacher(self) -> dict[str, float]:
        return {"speed_up": 1.0, "milliseconds": 1.0}


def recipe(tied: str = "none", **changes: object) -> Recipe:
    shape = {**PLAIN["teacher"]["shape"], "tied_embeddings": tied}
    students = {"tiny": {"decoder": {"layers": 2}, "encoder": {"layers": 3}}}
    tree = {**PLAIN, "teacher": {"shape": shape}, "students": students, **changes}
    return validated(Recipe, tree, "test")


TWO = {"tiny": {"decoder": {"layers": 1, "d_model": 12}}, "small": {"decoder": {"layers": 2}}}
CASES = {
    "plain": recipe(),
    "one table": recipe("all"),
    "one table, other student": recipe(
        "all", students={"tiny": {"decoder": {"d_model": 12}, "tied_embeddings": "decoder"}}
    ),
    "copied parts": recipe(
        students={"tiny": {"decoder": {"layers": 2}}},
        generator={"grouping": {"norms": "copied", "embeddings": "copied"}},
    ),
    "own subsets": recipe(generator={"grouping": {"decoder_subsets": [3, 1]}}),
    "shallow": recipe(
        teacher={"shape": {"encoder": STACK | {"layers": 3}, "decoder": STACK | {"layers": 1}}},
        students={"tiny": {"decoder": {"d_model": 12}}},
    ),
    "two students": recipe(students=TWO),
}


def candidates(base: Recipe, names: list[str], count: int) -> list[Candidate]:
    """Return what random choices of a space make, refused ones among them."""
    space = search_space(base, names)
    points = Points(base, space, Untimed())  # type: ignore[arg-type]
    return [points.candidate(values) for values in islice(draw(space.parameters, 3), count)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("names", [["student_shape"], ["grouping"], ["parts"], ["joint"]])
def test_every_point_that_is_tried_can_be_generated(case: str, names: list[str]) -> None:
    base = CASES[case]
    drawn = [one for one in candidates(base, names, 250) if not one.refused]
    assert drawn
    for number, one in enumerate(drawn):
        changed = overridden(base, one.point)
        teacher, student = changed.teacher_model, changed.student_model
        assert teacher == base.teacher_model
        for stack in ("encoder", "decoder"):
            ours, theirs = getattr(student, stack), getattr(teacher, stack)
            assert ours.layers <= theirs.layers
            assert ours.d_model <= theirs.d_model
            sizes = getattr(changed.generator.grouping, f"{stack}_subsets")
            sizes = subset_sizes(stack, teacher, student, sizes)
            assert sum(sizes) == theirs.layers
            assert len(sizes) == ours.layers
        if number % 20 == 0:  # the whole check is slow, and each candidate has passed it
            assert generable_classes(teacher, student, changed.generator.grouping)


@pytest.mark.parametrize("names", [["student_shape"], ["grouping"], ["joint"]])
def test_all_points_of_a_shipped_space_are_possible(names: list[str]) -> None:
    drawn = candidates(CASES["two students"], names, 1500)
    impossible = [one for one in drawn if one.refused and "the same student" not in one.refused]
    assert not impossible


def test_at_most_one_part_is_not_generated_and_copied_where_all_widths_are_kept() -> None:
    drawn = candidates(CASES["plain"], ["parts", "student_shape"], 400)
    keys = [f"generator.grouping.{part}" for part in ("norms", "biases", "embeddings")]
    points = [one.point for one in drawn if not one.refused]
    others = {tuple(key for key in keys if point[key] != "generated") for point in points}
    assert others == {(), *((key,) for key in keys)}


def test_shapes_vary_and_never_exceed_the_teacher() -> None:
    tried = [
        one for one in candidates(CASES["one table"], ["student_shape"], 600) if not one.refused
    ]
    shapes = [overridden(CASES["one table"], one.point).student_model for one in tried]
    assert {shape.decoder.layers for shape in shapes} == {1, 2, 3, 4}
    assert {shape.encoder.layers for shape in shapes} == {2, 3, 4}
    assert {shape.decoder.feed_forward for shape in shapes} == {8, 16, 32}
    assert len({shape.decoder.heads for shape in shapes}) > 1
    assert len({shape.encoder.d_model for shape in shapes}) > 1


def test_named_students_are_points_of_the_space_and_come_first() -> None:
    base = CASES["two students"]
    space = search_space(base, ["student_shape", "grouping"])
    points = Points(base, space, Untimed())  # type: ignore[arg-type]
    first, second = points.given()
    assert (first.point, second.point) == ({}, {"student": "small"})
    assert first.kept
    assert second.kept
    assert not first.refused
    assert not second.refused
    for one in (first, second):
        assert one.values is not None
        again = overridden(base, space.point(one.values)).student_model
        assert again == overridden(base, one.point).student_model
    assert first.values["students.tiny.decoder.layers"] == 1
    assert second.values["students.tiny.decoder.layers"] == 2


def test_the_same_student_by_another_way_is_refused() -> None:
    base = CASES["two students"]
    space = search_space(base, ["student_shape"])
    points = Points(base, space, Untimed())  # type: ignore[arg-type]
    first = points.given()[0]
    assert first.values is not None
    assert "the same student" in points.candidate(first.values).refused


def test_students_of_other_data_are_no_doubles(tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_text("pseudo.trim: [0.0, 0.1]\npseudo.deduplicate: [true, false]\n")
    space = search_space(CASES["plain"], [str(path)])
    points = Points(CASES["plain"], space, Untimed())  # type: ignore[arg-type]
    drawn = islice(draw(space.parameters, 1), 50)
    tried = {json.dumps(one, sort_keys=True): points.candidate(one) for one in drawn}
    assert len(tried) == 4
    assert not [one.refused for one in tried.values() if one.refused]


def test_limits_refuse_before_training_and_are_counted() -> None:
    base = overridden(CASES["plain"], {"search.min_speed_up": 3.0})
    space = search_space(base, ["student_shape"])
    points = Points(base, space, Untimed())  # type: ignore[arg-type]
    for values in islice(draw(space.parameters, 1), 100):
        one = points.candidate(values)
        if not one.refused:
            assert one.figures["speed_up"] >= 3.0
    assert points.refusals["search.min_speed_up 3"] > 0


def test_without_a_point_the_rule_that_refuses_most_is_told() -> None:
    base = overridden(CASES["plain"], {"search.max_parameters": 10})
    space = search_space(base, ["student_shape"])
    points = Points(base, space, Untimed())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"by search\.max_parameters 10 \(the smallest there is"):
        points.probe(draw(space.parameters, 1))


def test_a_space_of_impossible_points_names_their_rule(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("students.tiny.decoder.d_model: [13, 17]\nstudent: [tiny]\n")
    base = overridden(CASES["plain"], {"search.max_parameters": 6000})
    space = search_space(base, [str(file)])
    points = Points(base, space, Untimed())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="heads must divide d_model"):
        points.probe(grid(space.parameters, 1))


def test_draws_and_grids_are_the_same_again() -> None:
    space = search_space(CASES["plain"], ["joint"])
    for make in (draw, grid):
        once = [json.dumps(one) for one in islice(make(space.parameters, 5), 50)]
        assert once == [json.dumps(one) for one in islice(make(space.parameters, 5), 50)]
        assert len(set(once)) == 50


def test_a_grid_holds_every_choice_once() -> None:
    parameters: dict[str, Any] = {"a": (1, 2, 3), "b": ("x", "y")}
    assert Counter(json.dumps(one) for one in grid(parameters, 1)) == {
        json.dumps({"a": a, "b": b}): 1 for a in (1, 2, 3) for b in "xy"
    }


def test_compositions_are_equally_likely() -> None:
    generator = random.Random(0)
    seen = Counter(tuple(composition(5, 3, generator.random())) for _ in range(6000))
    assert len(seen) == 6
    assert all(sum(parts) == 5 for parts in seen)
    assert all(800 < count < 1200 for count in seen.values())


@given(st.integers(1, 30), st.data())
def test_a_share_is_found_again_from_its_composition(total: int, data: st.DataObject) -> None:
    parts = data.draw(st.integers(1, total))
    share = data.draw(st.floats(0, 1))
    sizes = composition(total, parts, share)
    assert sum(sizes) == total
    assert len(sizes) == parts
    assert min(sizes) > 0
    assert composition(total, parts, share_of(sizes)) == sizes
    assert composition(total, parts, share_of(even(total, parts))) == even(total, parts)


@pytest.mark.parametrize("names", [["student_shapes"], ["grouping", "groupin"], []])
def test_an_unknown_space_names_what_there_is(names: list[str]) -> None:
    with pytest.raises(ConfigError, match="student_shape, grouping, parts, optimization, joint"):
        search_space(CASES["plain"], names)


def test_joint_is_all_of_them() -> None:
    joint = search_space(CASES["plain"], ["joint"])
    assert joint.parameters == search_space(CASES["plain"], list(SPACES)).parameters


def test_a_student_deeper_than_its_teacher_is_refused() -> None:
    deep = recipe(students={"tiny": {"decoder": {"layers": 9}}})
    with pytest.raises(ConfigError, match=r"students\.tiny\.decoder\.layers: 9.*only 4"):
        search_space(deep, ["grouping"])
