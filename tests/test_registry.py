import os
import string
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from wd.config import EvaluationConfig, Recipe, overridden
from wd.errors import ConfigError
from wd.model.directory import save_model
from wd.model.transformer import Transformer
from wd.registry import Registry, RegistryError, Version, resolve
from wd.registry.packaging import default_uri
from wd.tracking import open_tracker

DECODING = EvaluationConfig(
    beam_size=2,
    max_length=12,
    batch_tokens=256,
    quantization="float16",  # as evaluated on a GPU; it must be usable elsewhere too
)


@pytest.fixture(scope="module")
def model(
    tmp_path_factory: pytest.TempPathFactory,
    tokenizer_folder: Path,
    random_model: Callable[..., Transformer],
) -> Path:
    student = random_model()
    out = tmp_path_factory.mktemp("model") / "student-of-somebody"
    save_model(out, student.config, student.state_dict(), tokenizer_folder)
    return out


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def registry(root: Path) -> Registry:
    with open_tracker(Recipe(name="r", source_language="en", target_language="de"), root):
        pass
    return Registry(f"sqlite:///{root / 'mlflow.db'}")


@pytest.fixture(scope="module")
def versions(registry: Registry, root: Path, model: Path) -> list[Version]:
    with open_tracker(Recipe(name="r", source_language="en", target_language="de"), root) as run:
        return [
            registry.register(
                "bird",
                model,
                artifact=f"student/{letter}",
                run_id=run.run_id,
                decoding=DECODING,
                tags={"wd.bleu": 12.5},
            )
            for letter in "aba"
        ]


def test_the_same_artifact_is_registered_once(versions: list[Version]) -> None:
    assert [version.version for version in versions] == [1, 2, 1]
    assert versions[0].tags["wd.artifact"] == "student/a"
    assert versions[0].tags["wd.bleu"] == "12.5"


NAMES = ("北京", "a b", "l'europe", "a%20b", "a;b&c=d", "#1", "' or 1=1 --", "12", "LATEST")


def test_every_name_that_a_recipe_may_say_is_found_again(root: Path, model: Path) -> None:
    """MLflow itself finds the model by its address, and we find its version by its artifact."""
    asked = [*NAMES, "x" * 201, *(f"a{mark}b" for mark in string.punctuation)]
    names = [name for name in asked if _is_possible({"registry": {"name": name}})]
    assert {*NAMES, "x" * 201} <= set(names)
    client, found = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}"), {}
    for name in names:
        client.create_registered_model(name)
        client.create_model_version(name, model.as_uri(), tags={"wd.artifact": name})
        found[name] = [each.name for each in Registry(client.tracking_uri)._versions(name, name)]
    assert found == {name: [name] for name in names}
    with default_uri(client.tracking_uri):
        for name in names:
            folder = mlflow.artifacts.download_artifacts(f"models:/{name}/1")
            assert Path(folder) == model, name


@pytest.mark.parametrize("name", ["北京", "l'europe", "a b"])
def test_a_student_of_any_name_is_registered_once_and_fetched(
    name: str, registry: Registry, root: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    recipe = Recipe(name=name, source_language="en", target_language="de")
    with open_tracker(recipe, root) as run:
        for _ in range(2):
            version = registry.register(
                f"{name}-tiny",
                model,
                artifact=f"student/{name}-tiny-0",
                run_id=run.run_id,
                decoding=DECODING,
                tags={"wd.recipe": name},
            )
            assert version.version == 1
    registry.promote(version, "champion")
    folder = resolve(f"models:/{name}-tiny@champion", str(root))
    assert (folder / "config.json").read_bytes() == (model / "config.json").read_bytes()


@pytest.mark.parametrize("alias", ["latest", "Latest", "v2", "V10", "", "a b", "1", "x" * 101])
def test_an_alias_that_mlflow_keeps_for_itself_is_refused(
    alias: str, registry: Registry, versions: list[Version]
) -> None:
    assert not _is_possible({"registry": {"alias": alias}})
    with pytest.raises(RegistryError, match=f"alias {alias}: "):
        registry.promote(versions[1], alias)
    with pytest.raises(RegistryError, match=f"alias {alias}: "):
        registry.roll_back("bird", alias)


@pytest.mark.parametrize("name", ["", " ", ".", "..", "a ", " a", "a\tb", "a\n", "a\0", "x" * 202])
def test_a_model_name_that_mlflow_would_lose_is_refused(name: str) -> None:
    assert not _is_possible({"registry": {"name": name}})


def _is_possible(changes: dict[str, dict[str, str]]) -> bool:
    try:
        overridden(Recipe(name="r", source_language="en", target_language="de"), changes)
    except ConfigError:
        return False
    return True


def test_nothing_registered_is_a_pickle_or_tells_where_it_was_made(
    versions: list[Version], root: Path, model: Path
) -> None:
    files = [path for path in (root / "mlflow-artifacts").rglob("*") if path.is_file()]
    assert "model.safetensors" in {path.name for path in files}
    assert not [path for path in files if path.suffix in (".pkl", ".pickle", ".pt", ".bin")]
    description = next(path for path in files if path.name == "MLmodel").read_text()
    for path in (model.parent, Path(__file__).parents[1]):
        assert str(path) not in description


def test_alias_moves_and_rolls_back(registry: Registry, versions: list[Version]) -> None:
    first, second, _ = versions
    with pytest.raises(RegistryError, match="wd promote"):
        registry.at("bird", "best")
    registry.promote(first, "best")
    with pytest.raises(RegistryError, match="first that had this alias"):
        registry.roll_back("bird", "best")
    registry.promote(second, "best")
    registry.promote(second, "best")
    assert registry.at("bird", "best").version == 2
    left, now = registry.roll_back("bird", "best")
    assert (left.version, now.version) == (2, 1)
    assert registry.at("bird", "best").version == 1


def test_resolves_to_a_model_directory(
    registry: Registry,
    versions: list[Version],
    root: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    registry.promote(versions[0], "used")
    for uri in ("models:/bird@used", "models:/bird/1"):
        folder = resolve(uri, str(root))
        assert {path.name for path in folder.iterdir()} == {path.name for path in model.iterdir()}
        weights = "model.safetensors"
        assert (folder / weights).read_bytes() == (model / weights).read_bytes()
    for uri in ("models:/bird@nobody", "models:/bird/9", "models:/fish@used"):
        with pytest.raises(RegistryError, match=r"models:/(bird|fish)"):
            resolve(uri, str(root))
    assert "MLFLOW_TRACKING_URI" not in os.environ
    with pytest.raises(RegistryError, match="MLFLOW_TRACKING_URI"):
        resolve("models:/bird@used", str(root / "elsewhere"))


@pytest.mark.slow
def test_a_new_process_loads_and_translates(
    registry: Registry, versions: list[Version], model: Path, tmp_path: Path
) -> None:
    from wd.decoding.engine import Translator

    registry.promote(versions[1], "champion")
    code = (
        f"import mlflow; mlflow.set_tracking_uri({registry.uri!r})\n"
        "loaded = mlflow.pyfunc.load_model('models:/bird@champion')\n"
        "print(loaded.predict(['Der Hund sieht das Haus.', '', 'Katze']))\n"
        "print(loaded.predict(['Der Hund sieht das Haus.'], params={'beam_size': 1}))\n"
    )
    package = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": package, "MLFLOW_DISABLE_TELEMETRY": "true"},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    translator = Translator.from_directory(model)
    lines = ["Der Hund sieht das Haus.", "", "Katze"]
    expected = [found.text for found in translator.translate(lines, DECODING)]
    greedy = translator.translate(lines[:1], DECODING.model_copy(update={"beam_size": 1}))
    assert done.stdout.splitlines() == [str(expected), str([found.text for found in greedy])]
