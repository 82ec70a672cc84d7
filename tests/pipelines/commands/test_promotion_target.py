"""What `wd promote` takes: a recipe, a run of MLflow's, or a student."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.commands.promotion_target import recipe_of
from pipelines.context import Run
from pipelines.stages.student import student
from wd.config import Recipe, load_recipe, overridden
from wd.errors import ConfigError, RegistryError, TrackingError
from wd.tracking import open_tracker


@pytest.fixture
def recipe(
    tmp_path: Path, write_recipe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Recipe:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return load_recipe(write_recipe(tmp_path, name="mine"), ["student=tiny"])


@pytest.fixture
def ids(recipe: Recipe) -> tuple[str, str]:
    """A pipeline's run, and a stage's below it that says it made the recipe's student."""
    name = student(Run(recipe).glance(recipe), "wd").name
    with open_tracker(recipe, Path(recipe.root)) as run, run.child("student", name) as stage:
        stage.set_tags({"wd.artifact": name})
    return str(run.run_id), str(stage.run_id)


def test_a_run_and_its_student_have_the_recipe(recipe: Recipe, ids: tuple[str, str]) -> None:
    name = student(Run(recipe).glance(recipe), "wd").name
    for target in (*ids, name, f"{recipe.root}/{name}"):
        assert recipe_of(target, (), recipe.root, None) == recipe
    changed = recipe_of(ids[0], ["registry.min_bleu=30"], recipe.root, None)
    assert changed == overridden(recipe, {"registry.min_bleu": 30})


def test_a_run_s_own_student_is_meant(recipe: Recipe, ids: tuple[str, str]) -> None:
    """Not one that its recipe would make now, by other code or other overrides."""
    with open_tracker(recipe, Path(recipe.root)) as run, run.child("evaluation", "e") as stage:
        name = student(Run(recipe).glance(recipe), "wd").name
        stage.set_tags({"wd.artifact": "evaluation/mine-0123456789ab", "wd.input.WD": name})
    assert recipe_of(ids[0], (), recipe.root, None) == recipe
    with pytest.raises(RegistryError, match="makes another student"):
        recipe_of(ids[0], ["fine_tuning.updates=7"], recipe.root, None)


def test_another_registry_is_another_address(recipe: Recipe, ids: tuple[str, str]) -> None:
    changed = recipe_of(ids[0], (), recipe.root, "http://127.0.0.1:9")
    assert changed.tracking.uri == "http://127.0.0.1:9"


def test_what_nothing_is_known_of_is_told(recipe: Recipe, ids: tuple[str, str]) -> None:
    with pytest.raises(TrackingError, match="say the recipe"):
        recipe_of("student/other.v2-tiny-wd-0123456789ab", (), recipe.root, None)
    with pytest.raises(TrackingError, match="not found"):
        recipe_of("0" * 32, (), recipe.root, None)
    with pytest.raises(ConfigError, match="unknown recipe"):
        recipe_of("quickstrat", (), recipe.root, None)


def test_a_student_that_the_recipe_does_not_make_is_refused(recipe: Recipe) -> None:
    name = "student/mine-tiny-wd-0123456789ab"
    with open_tracker(recipe, Path(recipe.root)) as run, run.child("student", name) as stage:
        stage.set_tags({"wd.artifact": name})
    with pytest.raises(RegistryError, match="makes another student"):
        recipe_of(name, (), recipe.root, None)
