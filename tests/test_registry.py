import json
import os
import string
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import mlflow
import pytest

from pipelines.tools.brought import brought
from wd.config import EvaluationConfig, Recipe, Wanted, overridden
from wd.errors import ConfigError
from wd.model.directory import save_model
from wd.model.transformer import Transformer
from wd.registry import (
    Evidence,
    Registry,
    RegistryError,
    Version,
    registered_settings,
    resolve,
)
from wd.registry.packaging import default_uri
from wd.tracking import open_tracker

DECODING = EvaluationConfig(
    beam_size=2,
    max_length=12,
    batch_tokens=256,
    quantization="float16",  # as evaluated on a GPU; it must be usable elsewhere too
)

EVIDENCE = Evidence(
    source_language="en",
    target_language="de",
    test_set="0123456789abcdef",
    sentences=2,
    bleu=12.5,
    bleu_signature="nrefs:1",
    chrf=30.0,
    chrf_signature="nrefs:1",
    teacher_bleu=13.0,
    teacher_chrf=31.0,
    parameters=1000,
    compression=0.5,
    sentences_per_second=10.0,
    tokens_per_second=100.0,
    milliseconds=100.0,
    speed_up=2.0,
    settings="beam 2, float32, cpu, 2 threads",
    evaluation="evaluation/a",
    hypotheses=("Ein Hund.", "\x85 a\r"),
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
                evidence=EVIDENCE,
                tags={"wd.bleu": 12.5},
                lineage={"student": f"student/{letter}"},
            )
            for letter in "aba"
        ]


def test_the_same_artifact_is_registered_once(versions: list[Version]) -> None:
    assert [version.version for version in versions] == [1, 2, 1]
    assert versions[0].tags["wd.artifact"] == "student/a"
    assert versions[0].tags["wd.bleu"] == "12.5"


def test_what_a_killed_registration_left_undone_is_done(
    root: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(f"sqlite:///{root / 'mlflow.db'}")
    recipe = Recipe(name="trout", source_language="en", target_language="de")

    def die(*arguments: object) -> None:
        raise KeyboardInterrupt

    with open_tracker(recipe, root) as run:
        register = partial(
            registry.register,
            "trout",
            model,
            artifact="student/trout",
            run_id=run.run_id,
            decoding=DECODING,
            evidence=EVIDENCE,
            tags={},
            lineage={},
        )
        monkeypatch.setattr(registry, "_complete", die)
        with pytest.raises(KeyboardInterrupt):
            register()
        monkeypatch.undo()
        client = mlflow.MlflowClient(registry.uri)
        assert not client.get_model_version("trout", "1").description
        assert register().version == 1
        version = client.get_model_version("trout", "1")
        assert "# trout, version 1" in version.description
        logged = client.get_logged_model(version.source.removeprefix("models:/"))
        assert "version/bleu" in {metric.key for metric in logged.metrics}
        assert register().version == 1


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
        found[name] = [
            each.name
            for each in Registry(client.tracking_uri)._versions(name, {"wd.artifact": name})
        ]
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
                evidence=EVIDENCE,
                tags={"wd.recipe": name},
                lineage={},
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
    assert not [path for path in files if path.suffix in (".pkl", ".pickle", ".pt")]
    binaries = {path.relative_to(path.parents[1]) for path in files if path.suffix == ".bin"}
    assert binaries == {Path("engine/model.bin")}, "CTranslate2's, which is no pickle"
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
    left, now, _ = registry.roll_back("bird", "best")
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
        # So it can be a recipe's teacher.
        ours, registered = (brought(Wanted(each, root=str(root))) for each in (str(model), uri))
        assert registered.identity == ours.identity
    for uri in ("models:/bird@nobody", "models:/bird/9", "models:/fish@used"):
        with pytest.raises(RegistryError, match=r"models:/(bird|fish)"):
            resolve(uri, str(root))
    assert "MLFLOW_TRACKING_URI" not in os.environ
    with pytest.raises(RegistryError, match="MLFLOW_TRACKING_URI"):
        resolve("models:/bird@used", str(root / "elsewhere"))


BARRED = ("wd", "pipelines", "torch", "ray", "safetensors", "pydantic_settings")
"""What a version must do without: this project, and what its requirements do not name."""


def test_a_version_needs_public_packages_only(versions: list[Version], root: Path) -> None:
    places = root.glob("mlflow-artifacts/**/requirements.txt")
    told = {path.read_text() for path in places}
    assert len(told) == 1
    lines = told.pop().split()
    assert [line.partition("==")[0] for line in lines] == ["mlflow", "ctranslate2", "sentencepiece"]
    assert not [line for line in lines if "+" in line], "a local version is in no index"


def test_it_translates_where_the_project_is_not_installed(
    registry: Registry, versions: list[Version], model: Path, tmp_path: Path
) -> None:
    from wd.decoding.engine import Translator

    registry.promote(versions[1], "champion")
    lines = [
        "Der Hund sieht das Haus.",
        "",
        " \u00ad",
        "Katze",
        "a " * 1500,
        "\u2603 Schnee",
        "\t x",
    ]
    code = f"""
import sys
class Bar:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BARRED!r}:
            raise ImportError(name + " is not installed here")
sys.meta_path.insert(0, Bar())
import json, mlflow
mlflow.set_tracking_uri({registry.uri!r})
loaded = mlflow.pyfunc.load_model("models:/bird@champion")
print(json.dumps(loaded.predict({lines!r})))
print(json.dumps(loaded.predict({lines[:1]!r}, params={{"beam_size": 1}})))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "MLFLOW_DISABLE_TELEMETRY": "true", "HOME": str(tmp_path)},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    translator = Translator.from_directory(model)
    expected = [found.text for found in translator.translate(lines, DECODING)]
    greedy = translator.translate(lines[:1], DECODING.model_copy(update={"beam_size": 1}))
    told = [json.loads(line) for line in done.stdout.splitlines()[-2:]]
    assert told == [expected, [found.text for found in greedy]]


def test_its_text_is_the_engine_s_for_any_pieces(
    registry: Registry, versions: list[Version], tmp_path: Path
) -> None:
    """Byte pieces, too: the version's own few steps are held against the project's tokenizer."""
    import random

    import pyarrow as pa
    import pyarrow.parquet as pq

    from wd.config import TokenizerConfig
    from wd.data.tokenizer import Tokenizer
    from wd.data.tokenizer_training import train_tokenizer

    table = pa.table({"source": ["a b", "b c"] * 50, "target": ["c d", "d e"] * 50})
    pq.write_table(table, tmp_path / "part-00000.parquet")
    train_tokenizer(tmp_path, tmp_path, TokenizerConfig(vocabulary_size=271, byte_fallback=True))
    tokenizer = Tokenizer.load(tmp_path)
    with default_uri(registry.uri):
        found = mlflow.pyfunc.load_model(versions[0].uri).unwrap_python_model()
    import sentencepiece

    found.target = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "target.model"))
    pieces, draw = tokenizer.target_pieces, random.Random(1)
    for _ in range(300):
        ids = [draw.randrange(len(pieces)) for _ in range(draw.randrange(12))]
        expected = tokenizer.decode_target([ids])
        assert [found._text([pieces[each] for each in ids])] == expected, ids


def test_a_recipe_s_teacher_comes_from_the_recipe_s_registry(
    registry: Registry,
    versions: list[Version],
    model: Path,
    write_recipe: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Its root has none."""
    from pipelines.commands.recipe_arguments import read_recipe
    from wd.model.directory import load_config

    given = ["teacher.from=models:/bird/1", "students={tiny: {decoder: {layers: 1}}}"]
    recipe = read_recipe(str(write_recipe(tmp_path)), [*given, f"tracking.uri={registry.uri}"])
    assert recipe.teacher_model == load_config(model)
    for uri in ("none", "null"):  # then it is the root's
        with pytest.raises(RegistryError, match="no registry here"):
            read_recipe(str(tmp_path / "small.yaml"), [*given, f"tracking.uri={uri}"])


def test_the_registered_settings_are_the_default(
    registry: Registry, versions: list[Version], model: Path, tmp_path: Path
) -> None:
    from pipelines.tools.translate import decoding_of

    folder = registry.resolve(versions[0].uri)
    settings = registered_settings(folder)
    assert settings["beam_size"] == 2
    assert settings["quantization"] == "float32", "float16 does not run on a CPU"
    assert decoding_of(folder, {}).max_length == 12
    assert decoding_of(folder, {"max_length": 9}).max_length == 9
    assert registered_settings(model) == {}
    assert decoding_of(model, {}).beam_size == 6


def test_its_page_reads_like_a_model_card(registry: Registry, versions: list[Version]) -> None:
    client = mlflow.MlflowClient(registry.uri)
    page = client.get_model_version("bird", "2").description
    for part in (
        "# bird, version 2",
        "| languages | en to de |",
        "float32 (CTranslate2)",  # what it is loaded as, wherever it was evaluated
        "| BLEU | 12.50 (teacher 13.00) |",
        "BLEU is `nrefs:1`",
        "| student | `student/b` |",
        'load_model("models:/bird/2")',
    ):
        assert part in page, page


def test_a_version_keeps_its_evaluation(registry: Registry, versions: list[Version]) -> None:
    kept = registry.evidence(versions[0])
    assert kept is not None
    assert kept.megabytes > 0
    assert kept.model_copy(update={"megabytes": 0.0}) == EVIDENCE


def test_a_model_holds_one_language_pair(registry: Registry, versions: list[Version]) -> None:
    registry.check_languages("bird", "en-de")
    registry.check_languages("fish", "en-ro")
    with pytest.raises(RegistryError, match=r"add registry\.name=bird-en-ro"):
        registry.check_languages("bird", "en-ro")


def test_two_promotions_cannot_both_win_unnoticed(
    registry: Registry, versions: list[Version]
) -> None:
    first, second, _ = versions
    registry.promote(first, "raced", expected=None)
    with pytest.raises(RegistryError, match="another promotion was faster"):
        registry.promote(second, "raced", expected=None)
    assert registry.at("bird", "raced").version == 1
    registry.promote(second, "raced", expected=1)

    client = mlflow.MlflowClient(registry.uri)
    client.create_registered_model("bird.raced.being-moved")  # by one that is in the middle of it
    with pytest.raises(RegistryError, match="under way"):
        registry.promote(first, "raced", expected=2)
    assert registry.at("bird", "raced").version == 2
    client.delete_registered_model("bird.raced.being-moved")


def test_a_promotion_that_died_does_not_block_for_ever(
    registry: Registry, versions: list[Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    import wd.registry.aliases

    mlflow.MlflowClient(registry.uri).create_registered_model("bird.died.being-moved")
    monkeypatch.setattr(wd.registry.aliases, "_STALE_SECONDS", 0)
    registry.promote(versions[0], "died")
    assert registry.at("bird", "died").version == 1


def test_two_processes_that_promote_at_once(registry: Registry, versions: list[Version]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    registry.promote(versions[0], "busy")

    def attempt(_: int) -> str:
        try:
            Registry(registry.uri).promote(versions[1], "busy", expected=1)
        except RegistryError:
            return "refused"
        return "won"

    with ThreadPoolExecutor(4) as threads:
        outcomes = list(threads.map(attempt, range(4)))
    assert outcomes.count("won") == 1
    assert registry.at("bird", "busy").version == 2


def test_an_alias_moved_by_hand_is_noticed(registry: Registry, versions: list[Version]) -> None:
    registry.promote(versions[0], "hand")
    assert registry.standing("bird", "hand").note is None
    client = mlflow.MlflowClient(registry.uri)
    client.set_registered_model_alias("bird", "hand", "2")
    assert registry.standing("bird", "hand").note == (
        "bird@hand was moved by hand, from version 1 to version 2"
    )
    left, now, note = registry.roll_back("bird", "hand")
    assert (left.version, now.version) == (2, 1)
    assert "by hand" in note
    client.delete_registered_model_alias("bird", "hand")
    assert "removed by hand" in registry.standing("bird", "hand").note


def test_a_root_that_was_moved_goes_on(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    recipe = Recipe(name="r", source_language="en", target_language="de")
    before, after = tmp_path / "before", tmp_path / "after it"
    with open_tracker(recipe, before) as run:
        models = Registry(f"sqlite:///{before / 'mlflow.db'}")
        arguments = {"decoding": DECODING, "evidence": EVIDENCE, "tags": {}, "lineage": {}}
        version = models.register("b", model, artifact="s/a", run_id=run.run_id, **arguments)
        models.promote(version, "champion")
    mlflow.MlflowClient(models.uri)._tracking_client.store.engine.dispose()
    before.rename(after)
    folder = resolve("models:/b@champion", str(after))
    assert (folder / "config.json").read_bytes() == (model / "config.json").read_bytes()
    # Another run: MLflow remembers in a process where a run's files go.
    with open_tracker(overridden(recipe, {"student": "small"}), after) as run:
        run.log_file(model / "config.json")
    assert not before.exists(), "new files went to the old place"
