import json
from pathlib import Path
from typing import Any

import pytest

import pipelines.stages.registry as promoting
from pipelines.context import Run
from wd.artifacts import Artifact, Identity, Store
from wd.config import Recipe, overridden
from wd.errors import ConfigError
from wd.registry import Registry, RegistryError
from wd.tracking import connect, tracking_place

RECIPE = Recipe(
    name="bird",
    source_language="en",
    target_language="de",
    registry={"min_bleu": 20.0},
)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return overridden(RECIPE, {"root": str(tmp_path / "root")})


@pytest.fixture
def measured(
    recipe: Recipe, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, float]:
    """Real artifacts in place of training and measuring; the BLEU is for the test to set."""
    figures = {"bleu": 0.0}
    store = Store(recipe.root)

    def publish(stage: str, bleu: float, inputs: dict[str, str], metrics: dict[str, Any]):
        identity = Identity(stage, "bird", 1, {"bleu": bleu}, inputs)

        def build(out: Path) -> dict[str, Any]:
            for file in model_folder.iterdir():
                (out / file.name).write_bytes(file.read_bytes())
            return metrics

        return store.find(identity) or store.publish(identity, build)

    def student(run: Run, init: str) -> Artifact:
        assert init == "wd"
        return publish("student", figures["bleu"], {"corpus": "corpus/bird-0"}, {})

    def evaluation(run: Run) -> Artifact:
        bleu, model = figures["bleu"], student(run, "wd")
        metrics = {"WD": {"bleu": bleu, "compression": 0.5}}
        return publish("evaluation", bleu, {"WD": model.name}, metrics)

    monkeypatch.setattr(promoting, "student", student)
    monkeypatch.setattr(promoting, "evaluation", evaluation)
    return figures


def in_use(recipe: Recipe) -> int:
    return Registry(f"sqlite:///{recipe.root}/mlflow.db").at("bird-tiny", "champion").version


def test_the_gate_keeps_a_bad_student_from_the_alias(
    recipe: Recipe, measured: dict[str, float]
) -> None:
    measured["bleu"] = 25.0
    assert promoting.promote(recipe)["promoted"] is True
    measured["bleu"] = 19.9
    told = promoting.promote(recipe)
    assert (told["version"], told["promoted"]) == (2, False)
    assert in_use(recipe) == 1
    measured["bleu"] = 20.0
    assert promoting.promote(recipe)["promoted"] is True
    assert in_use(recipe) == 3

    told = promoting.rollback(recipe)
    assert told == {"name": "bird-tiny", "alias": "champion", "from": 3, "to": 1}
    with pytest.raises(RegistryError, match="none to go back to"):
        promoting.rollback(recipe)
    with Run(recipe) as run:
        promoting.registry(run)
    assert in_use(recipe) == 1, "a repeated run must not undo a roll-back"
    assert promoting.promote(recipe)["version"] == 3
    assert in_use(recipe) == 3


def test_a_version_tells_its_origin(recipe: Recipe, measured: dict[str, float]) -> None:
    measured["bleu"] = 30.0
    with Run(recipe) as run:
        artifact = promoting.registry(run)
    told = json.loads((artifact.path / promoting.REGISTRATION).read_text())
    assert told == artifact.metrics
    registry = Registry(f"sqlite:///{recipe.root}/mlflow.db")
    tags = registry.at("bird-tiny", "champion").tags
    assert tags["wd.artifact"].startswith("student/bird-")
    assert tags["wd.lineage.corpus"] == "corpus/bird-0"
    assert (tags["wd.recipe"], tags["wd.bleu"], tags["wd.compression"]) == (
        "bird",
        "30.00",
        "0.5000",
    )


@pytest.mark.parametrize(("key", "name"), [("name", "a/b"), ("alias", "a b"), ("alias", "1")])
def test_a_name_that_mlflow_refuses_is_refused_at_once(recipe: Recipe, key: str, name: str) -> None:
    with pytest.raises(ConfigError, match=f"registry.{key}"):
        overridden(recipe, {f"registry.{key}": name})


def test_without_tracking_there_is_no_registry(recipe: Recipe) -> None:
    untracked = overridden(recipe, {"tracking.uri": "none"})
    for ask in (promoting.promote, promoting.rollback):
        with pytest.raises(RegistryError, match=r"tracking\.uri is none"):
            ask(untracked)
    assert not Path(recipe.root).exists()


def test_rolling_back_what_was_never_registered_says_so(recipe: Recipe) -> None:
    with pytest.raises(RegistryError, match="no registry here"):
        promoting.rollback(recipe)
    assert not Path(recipe.root).exists()
    Path(recipe.root).mkdir()
    connect(tracking_place(recipe, Path(recipe.root))[0]).search_experiments()  # makes the database
    with pytest.raises(RegistryError, match="wd promote"):
        promoting.rollback(recipe)
