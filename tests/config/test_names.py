"""Names that become folders, registered models and addresses, and those that cannot."""

from pathlib import Path
from typing import Any, get_args

import pytest

from wd.artifacts import Identity, Metrics, Store
from wd.config import Method, Recipe, StudentShape, overridden
from wd.errors import ConfigError

BARE = Recipe(name="bare", source_language="en", target_language="de")
LONGEST = "北" * 33 + "x"


@pytest.mark.parametrize("name", ["x", "北京", "a b", "l'europe", "wmt14-ende-base", LONGEST])
def test_a_name_may_be_in_any_script(name: str) -> None:
    tree = {"name": name, "student": name, "students": {name: {}}}
    assert overridden(BARE, tree).name == name


def test_a_dot_is_for_recipes_only() -> None:
    assert overridden(BARE, {"name": "a.b"}).name == "a.b"
    with pytest.raises(ConfigError, match=r"students\.a\.b: a student's name holds no dot"):
        overridden(BARE, {"students": {"a.b": {}}, "student": "a.b"})


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", ".", "..", ".a", "a/b", "a\\b", "a:b", "a@b", "a?b", 'a"b', " a", "a ", "a\n"),
        *("a\0b", "a\tb", "a\x7fb", "\ud800", "x" * 101, "x" * 300, "北" * 34),
    ],
)
def test_what_cannot_be_a_folder_and_a_model_is_no_name(name: str) -> None:
    changes: tuple[dict[str, Any], ...] = ({"name": name}, {"students": {"tiny": {}, name: {}}})
    for change in changes:
        with pytest.raises(ConfigError, match=r"name: |students\.") as error:
            overridden(BARE, change)
        assert "regex" not in str(error.value)
        assert "pattern" not in str(error.value)


def test_the_longest_names_fit_into_a_folders_name(tmp_path: Path) -> None:
    recipe = overridden(BARE, {"name": LONGEST, "student": LONGEST, "students": {LONGEST: {}}})
    assert recipe.students == {LONGEST: StudentShape()}

    def build(out: Path) -> Metrics:
        (out / "log").write_text("made")
        return {}

    for method in get_args(Method):
        label = f"{recipe.name}-{recipe.student}-{method}"
        made = Store(str(tmp_path)).publish(Identity("student", label, 1, {}, {}), build)
        assert (made.path / "log").read_text() == "made"
