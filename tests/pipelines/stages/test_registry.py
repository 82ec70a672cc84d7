import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipelines.stages.promotion as promotion
import pipelines.stages.registry as registering
from pipelines.context import Run
from wd.artifacts import Artifact, Identity, Store
from wd.config import Config, EvaluationConfig, Recipe, overridden
from wd.data.schema import CORPUS
from wd.errors import ConfigError
from wd.evaluation.compare import System, compare
from wd.evaluation.report import write_report
from wd.evaluation.test_set import TestSet
from wd.registry import Registry, RegistryError
from wd.tracking import connect, tracking_place

RECIPE = Recipe(
    name="bird",
    source_language="en",
    target_language="de",
    registry={"min_bleu": 20.0},
    evaluation={"beam_size": 2, "max_length": 12, "speed_repeats": 1},
)
SENTENCES = [
    f"{one} {verb} {two} once more" for one in "abcdef" for verb in ("eat", "see") for two in "xyzw"
]


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return overridden(RECIPE, {"root": str(tmp_path / "root")})


class Stand(Config):
    """What the next student is like: so many of its lines are right."""

    right: int = len(SENTENCES)
    salt: int = 0


@pytest.fixture
def world(
    recipe: Recipe, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Artifacts in place of training; returns a function that says how good the student is.

    Its translations are written instead of decoded, scores and everything after them are real.
    """
    store, now = Store(recipe.root), {"stand": Stand(), "test": SENTENCES}
    timed = compare(
        [System("teacher", model_folder, "teacher/bird-0", "last")],
        TestSet(SENTENCES[:2], SENTENCES[:2], "en", "de"),
        EvaluationConfig(max_length=4, speed_repeats=1),
        title="bird",
        baseline="teacher",
        threads=1,
    )[0]

    def publish(
        run: Run, stage: str, config: dict[str, Any], inputs: dict[str, str], build: Any
    ) -> Artifact:
        identity = Identity(stage, "bird", 1, config, inputs)
        found = store.find(identity)
        if run.dry:
            run.outlook[identity.name] = "exists" if found else "to do"
            return found or store.planned(identity)
        return found or store.publish(identity, build)

    def corpus(run: Run) -> Artifact:
        rows = [{"id": each, "source": each, "target": each, "origin": ""} for each in now["test"]]

        def build(out: Path) -> dict[str, Any]:
            (out / "test").mkdir()
            table = pa.Table.from_pylist(rows, schema=CORPUS)
            pq.write_table(table, out / "test" / "part-00000.parquet")
            return {}

        return publish(run, "corpus", {"rows": len(rows)}, {}, build)

    def student(run: Run, method: str) -> Artifact:
        assert method == "wd"

        def build(out: Path) -> dict[str, Any]:
            for file in model_folder.iterdir():
                (out / file.name).write_bytes(file.read_bytes())
            return {}

        return publish(run, "student", {"stand": now["stand"]}, {"corpus": corpus(run).name}, build)

    def evaluation(run: Run) -> Artifact:
        right, lines = now["stand"].right, now["test"]
        said = [line if index < right else "z" for index, line in enumerate(lines)]

        def build(out: Path) -> dict[str, Any]:
            report = _report(timed, {"teacher": lines, "WD": said}, lines)
            write_report(report, out)
            (out / "WD.txt").write_text("".join(f"{line}\n" for line in said))
            return {}

        inputs = {"WD": student(run, "wd").name, "corpus": corpus(run).name}
        return publish(run, "evaluation", {"sort": 1}, inputs, build)

    for module in (registering, promotion):
        monkeypatch.setattr(module, "student", student)
        monkeypatch.setattr(module, "evaluation", evaluation)
    monkeypatch.setattr(registering, "corpus", corpus)

    def change(right: int | None = None, salt: int = 0, test: list[str] = SENTENCES) -> None:
        now["test"] = test
        now["stand"] = Stand(right=len(test) if right is None else right, salt=salt)

    return change


def _report(timed: Any, said: dict[str, list[str]], references: list[str]) -> Any:
    from wd.evaluation.quality import score

    rows = tuple(
        timed.rows[0].model_copy(
            update={
                "name": name,
                "quality": score(lines, references, "de"),
                "speed_up": 1.0 if name == "teacher" else 2.5,
                "compression": 1.0 if name == "teacher" else 0.5,
            }
        )
        for name, lines in said.items()
    )
    return timed.model_copy(update={"rows": rows, "sentences": len(references)})


def models(recipe: Recipe) -> Registry:
    return Registry(f"sqlite:///{recipe.root}/mlflow.db")


def in_use(recipe: Recipe, alias: str = "champion") -> int:
    return models(recipe).at("bird-tiny", alias).version


def run_once(recipe: Recipe) -> dict[str, Any]:
    """Do as `wd run` does, and tell what it tells."""
    with Run(recipe) as run:
        told = registering.registry(run).metrics
    return promotion.standing_now(recipe, told)


def test_only_a_gate_gives_the_alias(recipe: Recipe, world: Callable[..., None]) -> None:
    first = run_once(recipe)
    assert first["promoted"], "the first version ever has nobody to beat"
    world(right=24)
    told = run_once(recipe)
    assert (told["version"], told["promoted"], told["passed"]) == (2, False, False)
    assert (in_use(recipe), in_use(recipe, "challenger")) == (1, 2)
    assert "version 1 has, and keeps, the alias champion" in registering.outcome(told)
    refused = promotion.promote(recipe)
    assert not refused["passed"]
    assert "no worse in BLEU: " in refused["reason"]
    assert "the champion, version 1 has 100.00 (p <0.001" in refused["reason"]
    assert in_use(recipe) == 1
    world(salt=1)
    told = run_once(recipe)
    assert (told["version"], told["promoted"], told["passed"]) == (3, False, True)
    assert in_use(recipe) == 1, "a run is no promotion"
    told = promotion.promote(recipe)
    assert (told["version"], told["promoted"]) == (3, True)
    assert in_use(recipe) == 3
    with pytest.raises(RegistryError, match="no such model or alias"):
        in_use(recipe, "challenger")


def test_a_first_version_must_reach_the_floors(recipe: Recipe, world: Callable[..., None]) -> None:
    world(right=6)
    told = run_once(recipe)
    assert not told["promoted"]
    assert [line[:4] for line in told["verdict"][:3]] == ["FAIL", "FAIL", "pass"]
    assert told["in_use"] is None
    assert "no version has the alias champion" in registering.outcome(told)
    relaxed = {"registry.min_bleu": 0.0, "registry.gate.min_teacher_share": None}
    assert promotion.promote(overridden(recipe, relaxed))["promoted"]


@pytest.mark.parametrize(
    ("rule", "value", "line"),
    [
        ("min_chrf", 99.0, "FAIL  least chrF: "),
        ("max_below_teacher", 1.0, "FAIL  below the teacher: "),
        ("min_speed_up", 3.0, "FAIL  least speed-up: 2.50, at least 3.00"),
        ("max_milliseconds", 1e-6, "FAIL  most ms per sentence: "),
        ("max_megabytes", 0.01, "FAIL  most MB: 0."),
        ("max_megabytes", 5.0, "pass  most MB: 0."),
    ],
)
def test_every_rule_is_asked(
    recipe: Recipe, world: Callable[..., None], rule: str, value: float, line: str
) -> None:
    world(right=40)
    with Run(overridden(recipe, {f"registry.gate.{rule}": value})) as run:
        report, student = registering.evaluation(run), registering.student(run, "wd")
        candidate = registering.candidate_of(run, report, student)
    from wd.registry import foreseen

    verdict, _ = foreseen(candidate, None, run.recipe.registry)
    assert any(each.startswith(line) for each in verdict.lines), verdict.lines
    assert verdict.passed is line.startswith("pass")


def test_a_dry_run_only_tells(recipe: Recipe, world: Callable[..., None]) -> None:
    with pytest.raises(RegistryError, match="wd evaluate"):
        promotion.foresee(recipe)
    with Run(recipe) as run:
        registering.evaluation(run)
    told = promotion.foresee(recipe)
    assert told["passed"]
    assert not (Path(recipe.root) / "mlflow.db").exists()
    assert "would be given the alias" in promotion.summary(told)
    run_once(recipe)
    world(right=24)
    with Run(recipe) as run:
        registering.evaluation(run)
    told = promotion.foresee(recipe)
    assert (told["passed"], told["in_use"]) == (False, 1)
    assert len(models(recipe)._versions("bird-tiny", {})) == 1


def test_other_test_sets_are_not_compared(recipe: Recipe, world: Callable[..., None]) -> None:
    run_once(recipe)
    world(test=SENTENCES[:40])
    told = promotion.promote(recipe)
    assert not told["passed"]
    assert "another test set (48 lines" in told["reason"]
    assert "--evaluate-champion" in told["reason"]
    assert in_use(recipe) == 1
    # The model in use is a random one: it knows nothing of what its translations claimed.
    told = promotion.promote(recipe, anew=True)
    assert told["promoted"]
    assert in_use(recipe) == 2


def test_another_language_pair_is_refused(recipe: Recipe, world: Callable[..., None]) -> None:
    run_once(recipe)
    romanian = overridden(recipe, {"target_language": "ro"})
    with pytest.raises(RegistryError, match=r"registry\.name=bird-tiny-en-ro"):
        registering.check_registrable(romanian)
    registering.check_registrable(overridden(romanian, {"registry.name": "bird-tiny-en-ro"}))
    registering.check_registrable(recipe)


def test_roll_backs_go_back_any_number_of_steps(recipe: Recipe, world: Callable[..., None]) -> None:
    for salt in range(4):
        world(salt=salt)
        assert promotion.promote(recipe)["promoted"]
    assert promotion.rollback(recipe) == {
        "name": "bird-tiny",
        "alias": "champion",
        "from": 4,
        "to": 3,
    }
    told = run_once(recipe)
    assert (told["version"], told["promoted"], told["in_use"]) == (4, False, 3)
    assert "was given" not in registering.outcome(told), "it is not true any more"
    assert promotion.promote(recipe)["promoted"]
    assert promotion.rollback(recipe, 2)["to"] == 2
    assert promotion.rollback(recipe)["to"] == 1
    with pytest.raises(RegistryError, match="none to go back to"):
        promotion.rollback(recipe)
    assert in_use(recipe) == 1


def test_a_version_tells_its_origin(recipe: Recipe, world: Callable[..., None]) -> None:
    with Run(recipe) as run:
        artifact = registering.registry(run)
    told = json.loads((artifact.path / registering.REGISTRATION).read_text())
    assert told == artifact.metrics
    version = models(recipe).at("bird-tiny", "champion")
    tags = version.tags
    assert tags["wd.artifact"].startswith("student/bird-")
    assert tags["wd.lineage.corpus"].startswith("corpus/bird-")
    assert (tags["wd.recipe"], tags["wd.bleu"], tags["wd.compression"]) == (
        "bird",
        "100.00",
        "0.5000",
    )
    assert (tags["wd.languages"], tags["wd.gate"]) == ("en-de", "passed")
    assert tags["wd.gate.least BLEU"] == "pass: 100.00, at least 20.00"
    client = connect(f"sqlite:///{recipe.root}/mlflow.db")
    page = client.get_model_version("bird-tiny", "1").description
    for word in ("en to de", "100.00", "tok:13a", "student/bird-", "corpus/bird-", "commit"):
        assert word in page
    files = {file.path for file in client.list_logged_model_artifacts(version.model_id)}
    assert {"gate.txt", "requirements.txt"} <= files
    metrics = {each.key: each.value for each in client.get_logged_model(version.model_id).metrics}
    assert metrics["version/bleu"] == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("key", "name"),
    [("name", "a/b"), ("alias", "a b"), ("alias", "1"), ("alias", "challenger")],
)
def test_a_name_that_mlflow_refuses_is_refused_at_once(recipe: Recipe, key: str, name: str) -> None:
    with pytest.raises(ConfigError, match=f"registry.{key}"):
        overridden(recipe, {f"registry.{key}": name})


def test_without_tracking_there_is_no_registry(recipe: Recipe) -> None:
    untracked = overridden(recipe, {"tracking.uri": "none"})
    for ask in (promotion.promote, promotion.foresee, promotion.rollback):
        with pytest.raises(RegistryError, match=r"tracking\.uri is none"):
            ask(untracked)
    assert not Path(recipe.root).exists()


def test_rolling_back_what_was_never_registered_says_so(recipe: Recipe) -> None:
    with pytest.raises(RegistryError, match="no registry here"):
        promotion.rollback(recipe)
    assert not Path(recipe.root).exists()
    Path(recipe.root).mkdir()
    connect(tracking_place(recipe, Path(recipe.root))[0]).search_experiments()  # makes the database
    with pytest.raises(RegistryError, match="wd promote"):
        promotion.rollback(recipe)


def test_a_refused_gate_is_an_exit_status(
    recipe: Recipe, world: Callable[..., None], tmp_path: Path
) -> None:
    from typer.testing import CliRunner

    from pipelines.commands.cli import app

    path = tmp_path / "bird.yaml"
    sections = {"registry": {"min_bleu": 20.0}, "evaluation": {"beam_size": 2, "max_length": 12}}
    names = {"name": "bird", "source_language": "en", "target_language": "de"}
    path.write_text(json.dumps({**names, **sections, "root": recipe.root}))

    def promote(*options: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["promote", str(path), *options])
        return done.exit_code, done.stdout

    assert promote()[0] == 0
    world(right=24)
    code, told = promote()
    assert code == 1
    assert "FAIL  no worse in BLEU" in told
    assert told.splitlines()[-1].endswith("version 1 has, and keeps, the alias champion")
    code, told = promote("--dry-run", "--json")
    assert code == 1
    assert json.loads(told)["passed"] is False
