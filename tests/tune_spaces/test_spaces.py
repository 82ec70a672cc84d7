import random
from collections import Counter

import pytest

from tune_spaces import SPACES, search_space
from tune_spaces.grouping import composition
from wd.config import Recipe, overridden, validated
from wd.distributed.points import Point, draw
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


def recipe(tied: str = "none", **changes: object) -> Recipe:
    shape = {**PLAIN["teacher"]["shape"], "tied_embeddings": tied}
    students = {"tiny": {"decoder": {"layers": 2}, "encoder": {"layers": 3}}}
    tree = {**PLAIN, "teacher": {"shape": shape}, "students": students, **changes}
    return validated(Recipe, tree, "test")


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
}


def points(base: Recipe, names: list[str], count: int) -> list[Point]:
    return draw(search_space(base, names, seed=3), count, seed=3)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("names", [["student_shape"], ["grouping"], ["parts"], list(SPACES)])
def test_every_point_is_a_student_that_can_be_generated(case: str, names: list[str]) -> None:
    base = CASES[case]
    drawn = points(base, names, 200)
    assert drawn
    for number, point in enumerate(drawn):
        changed = overridden(base, point)
        teacher, student = changed.teacher_model, changed.student_model
        assert teacher == base.teacher_model
        for stack in ("encoder", "decoder"):
            given = getattr(changed.generator.grouping, f"{stack}_subsets")
            sizes = subset_sizes(stack, teacher, student, given)
            assert sum(sizes) == getattr(teacher, stack).layers
            assert len(sizes) == getattr(student, stack).layers
            assert min(sizes) > 0
        if number % 20 == 0:  # the whole check is slow
            assert generable_classes(teacher, student, changed.generator.grouping)


def test_at_most_one_part_is_not_generated_and_copied_where_all_widths_are_kept() -> None:
    drawn = points(CASES["plain"], ["parts", "student_shape"], 300)
    keys = [f"generator.grouping.{part}" for part in ("norms", "biases", "embeddings")]
    others = [[key for key in keys if point[key] != "generated"] for point in drawn]
    assert {tuple(found) for found in others} == {(), *((key,) for key in keys)}
    copied = [point for point in drawn if "copied" in [point[key] for key in keys]]
    assert copied
    for point in copied:
        changed = overridden(CASES["plain"], point)
        assert generable_classes(
            changed.teacher_model, changed.student_model, changed.generator.grouping
        )


def test_shapes_vary_and_never_exceed_the_teacher() -> None:
    base = CASES["one table"]
    decoders = [
        overridden(base, point).student_model.decoder
        for point in points(base, ["student_shape"], 200)
    ]
    assert {decoder.layers for decoder in decoders} == {1, 2, 3}
    assert {decoder.d_model for decoder in decoders} == {4, 8, 12, 16, 20, 24}
    assert {decoder.feed_forward for decoder in decoders} == {8, 16, 32}


def test_subsets_follow_the_sampled_depth() -> None:
    drawn = points(CASES["plain"], ["grouping", "student_shape"], 100)
    for point in drawn:
        subsets = point["generator.grouping.decoder_subsets"]
        assert len(subsets) == point["students.tiny.decoder.layers"]
        assert sum(subsets) == STACK["layers"]
    assert {tuple(p["generator.grouping.encoder_subsets"]) for p in drawn} == {
        (2, 1, 1),
        (1, 2, 1),
        (1, 1, 2),
    }


def test_points_are_distinct_and_the_same_again() -> None:
    drawn = points(CASES["plain"], list(SPACES), 50)
    assert len({str(point) for point in drawn}) == 50
    assert drawn == points(CASES["plain"], list(SPACES), 50)


def test_a_small_space_gives_all_it_has() -> None:
    drawn = points(CASES["plain"], ["student_shape"], 200)
    assert len(drawn) == 3 * 6 * 3


def test_compositions_are_equally_likely() -> None:
    generator = random.Random(0)
    seen = Counter(tuple(composition(5, 3, generator)) for _ in range(6000))
    assert len(seen) == 6
    assert all(sum(parts) == 5 for parts in seen)
    assert all(800 < count < 1200 for count in seen.values())


@pytest.mark.parametrize("names", [["student_shapes"], ["grouping", "groupin"], []])
def test_an_unknown_space_names_what_there_is(names: list[str]) -> None:
    with pytest.raises(ConfigError, match="student_shape, grouping, parts, optimization"):
        search_space(CASES["plain"], names, seed=0)


def test_a_student_deeper_than_its_teacher_is_refused() -> None:
    deep = recipe(students={"tiny": {"decoder": {"layers": 9}}})
    with pytest.raises(ConfigError, match=r"students\.tiny\.decoder\.layers: 9.*only 4"):
        search_space(deep, ["grouping"], seed=0)
