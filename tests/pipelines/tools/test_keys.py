"""What `wd keys` tells is what a recipe takes."""

import re

import pytest
import yaml

from pipelines.commands.recipe_arguments import read_recipe, shipped_recipes
from pipelines.tools.keys import Key, keys
from wd.config import Recipe, StudentShape, overridden
from wd.errors import ConfigError

BARE = Recipe(
    name="bare",
    source_language="en",
    target_language="de",
    students={"tiny": StudentShape()},
)


def told() -> list[Key]:
    return [key for key in keys() if key.default is not None and ".NAME." not in key.path]


def test_every_key_is_told_once_with_its_default() -> None:
    tree = BARE.model_dump(mode="json", exclude={"students"})
    leaves = {}

    def walk(section: dict[str, object], path: str) -> None:
        for name, value in section.items():
            if isinstance(value, dict) and value:
                walk(value, f"{path}{name}.")
            else:
                leaves[f"{path}{name}"] = value

    walk(tree, "")
    required = {"name", "source_language", "target_language"}
    assert [key.path for key in told()] == [path for path in leaves if path not in required]
    for key in told():
        assert yaml.safe_load(key.default or "") == leaves[key.path], key.path


def test_what_is_told_can_be_said() -> None:
    for key in told():
        overridden(BARE, {key.path: yaml.safe_load(key.default or "")})
        if re.fullmatch(r"\w+( \| \w+)+", key.values):  # also a type's name, as a string
            for value in key.values.split(" | "):
                # Half precision needs a GPU, and a language of a teacher's such a teacher.
                others = {"ray.gpu": True, "teacher.from": "model"}
                overridden(BARE, others | {key.path: yaml.safe_load(value)})


@pytest.mark.parametrize("recipe", shipped_recipes())
def test_what_a_shipped_recipe_says_is_told(recipe: str) -> None:
    known = {key.path for key in keys()}
    for section in read_recipe(recipe).model_dump(exclude_unset=True):
        assert {section, f"{section}.NAME"} & known


def test_bounds_are_told() -> None:
    (told,) = keys("pseudo.length_penalty")
    assert told.values == "number, at least 0, at most 5"
    for key in ("beam_size", "max_length", "batch_tokens"):
        for section in ("pseudo", "evaluation"):
            (told,) = keys(f"{section}.{key}")
            assert "at least 1, at most" in told.values
            assert told.about


def test_a_section_or_one_key() -> None:
    assert [key.path for key in keys("student")] == ["student"]
    paths = [key.path for key in keys("students.NAME.encoder")]
    assert paths[:2] == ["students.NAME.encoder", "students.NAME.encoder.layers"]
    assert keys("students.tiny") == keys("students.NAME")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("fine_tunning", r"unknown key fine_tunning; did you mean fine_tuning\?$"),
        ("teacher.trainin.updates", r"key teacher\.trainin; did you mean teacher\.training\?"),
        ("students.mine.decoder.layer", r"students\.mine\.decoder\.layer; did you mean .*layers\?"),
        ("registry.qqq", r"unknown key registry\.qqq: it can be name, alias, min_bleu, gate$"),
        ("registry.name.x", r"unknown key registry\.name\.x$"),
    ],
)
def test_an_unknown_key_is_told_where_it_leaves_the_tree(key: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        keys(key)
