"""`wd gc`: only what is old and needed by nothing, and nothing where that cannot be known."""

import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pipelines.commands.cli import app
from wd.artifacts import Artifact, Identity, Store
from wd.manifest import MANIFEST
from wd.store import objects
from wd.store.shelf import here, push

NONE = ("--registry", "none")


@pytest.fixture(params=["folder", "store"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if request.param == "folder":
        (tmp_path / "root").mkdir()
        return str(tmp_path / "root")
    return str(request.getfixturevalue("store_root"))


@pytest.fixture
def make(root: str) -> Callable[..., Artifact]:
    """Return a function that makes an artifact which is so many days old."""

    def build(out: Path) -> dict[str, Any]:
        (out / "text.txt").write_text("text")
        return {}

    def published(stage: str, days: float, config: dict[str, Any], *of: Artifact) -> Artifact:
        inputs = {one.name.partition("/")[0]: one.name for one in of}
        made = Store(root).publish(Identity(stage, "test", 1, config, inputs), build)
        then = datetime.now(UTC) - timedelta(days=days)
        manifest = {**made.manifest, "created": then.isoformat()}
        objects.write(Store(root).root, f"{made.name}/{MANIFEST}", json.dumps(manifest).encode())
        return made

    return published


def gc(root: str, *options: str) -> Result:
    return CliRunner().invoke(app, ["gc", root, *options])


def listed(root: str, *options: str) -> set[str]:
    done = gc(root, "--json", *options)
    assert done.exit_code == 0, done.output
    return {one["path"] for one in json.loads(done.stdout)["garbage"]}


def test_what_something_young_was_made_from_is_kept(
    root: str, make: Callable[..., Artifact]
) -> None:
    corpus = make("corpus", 90, {})
    teacher, other = make("teacher", 80, {}, corpus), make("teacher", 80, {"seed": 2}, corpus)
    student, old = make("student", 3, {}, teacher), make("student", 70, {"seed": 2}, other)
    assert listed(root, *NONE) == {other.name, old.name}
    assert listed(root, *NONE, "--older-than", "75") == {other.name} - {other.name}
    assert listed(root, *NONE, "--older-than", "1") == {
        one.name for one in (corpus, teacher, other, student, old)
    }
    done = gc(root, *NONE)
    assert "nothing was deleted" in done.stdout
    assert other.name in done.stdout
    assert Store(root).manifest(other.name) is not None
    assert "deleted" in gc(root, *NONE, "--delete").stdout
    assert {one.name for one in Store(root).artifacts()} == {
        one.name for one in (corpus, teacher, student)
    }
    assert gc(root, *NONE).stdout == "nothing to delete\n"


def test_what_is_registered_is_kept_with_its_lineage(
    root: str, make: Callable[..., Artifact], tmp_path: Path
) -> None:
    from wd.tracking import connect

    corpus = make("corpus", 90, {})
    teacher = make("teacher", 80, {}, corpus)
    student, old = make("student", 60, {}, teacher), make("student", 60, {"seed": 2}, teacher)
    uri = f"sqlite:///{tmp_path}/registry.db"
    client = connect(uri)
    client.create_registered_model("quick")
    tags = {"wd.artifact": student.name, "wd.lineage.teacher": teacher.name}
    client.create_model_version("quick", f"file://{tmp_path}/model", tags=tags)
    assert listed(root, "--registry", uri) == {old.name}
    # It says itself where it was registered.
    make("registry", 60, {"uri": uri}, student)
    if Store(root).is_local:
        found = listed(root)
        assert old.name in found
        assert not {student.name, teacher.name, corpus.name} & found


def test_the_roots_own_registry_is_asked_beside_the_environments(
    make: Callable[..., Artifact], root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wd.tracking import connect

    student = make("student", 60, {})
    make("registry", 60, {"uri": None}, student)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/team.db")
    connect(f"sqlite:///{tmp_path}/team.db")
    done = gc(root, "--delete")
    assert done.exit_code == 2
    assert "mlflow.db is not on this machine" in done.output
    if Store(root).is_local:
        client = connect(f"sqlite:///{root}/mlflow.db")
        client.create_registered_model("quick")
        tags = {"wd.artifact": student.name}
        client.create_model_version("quick", f"file://{tmp_path}/model", tags=tags)
        assert student.name not in listed(root)


def test_a_registry_that_does_not_answer_ends_it(root: str, make: Callable[..., Artifact]) -> None:
    make("student", 60, {})
    make("registry", 50, {"uri": "http://127.0.0.1:1"})
    done = gc(root, "--delete")
    assert done.exit_code == 2
    assert len(Store(root).artifacts()) == 2


def test_a_root_whose_own_registry_is_elsewhere_is_not_guessed_at(
    store_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    done = gc(store_root)
    assert done.exit_code == 2
    assert "--registry none if nothing is" in done.output


def age(root: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make all that is below a path 60 days old."""
    real, past = objects.found, 60 * 86400 * 10**9

    def found(where: str, below: str) -> list[objects.Found]:
        return [
            objects.Found(one.path, one.bytes, one.written - past * (path in one.path))
            for one in real(where, below)
        ]

    monkeypatch.setattr(objects, "found", found)


def test_unfinished_work_keeps_what_it_needs_while_it_is_young_or_goes_on(
    root: str, make: Callable[..., Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = make("corpus", 90, {})
    identity = Identity("teacher", "test", 1, {}, {"corpus": corpus.name})
    store = Store(root)

    def fail(out: Path) -> dict[str, Any]:
        checkpoint = store.work_folder(identity) / "checkpoint"
        here(checkpoint).write_text("half")
        push(checkpoint)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.publish(identity, fail)
    assert listed(root, *NONE) == set()
    work = f".work/teacher/{identity.hash}"
    age(root, work, monkeypatch)
    with store.lock(identity):
        assert listed(root, *NONE) == set()
    assert listed(root, *NONE) == {work, corpus.name}
    monkeypatch.undo()


def test_half_an_artifact_goes_when_it_is_old(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objects.write(Store(root).root, "student/test-0123456789ab/weights", b"half")
    objects.write(Store(root).root, "mlflow-artifacts/1/weights", b"not ours")
    objects.write(Store(root).root, "mlflow.db", b"not ours")
    assert listed(root, *NONE) == set()
    age(root, "student/", monkeypatch)
    assert listed(root, *NONE) == {"student/test-0123456789ab"}
    assert gc(root, *NONE, "--delete").exit_code == 0
    left = {one.path for one in objects.found(Store(root).root, "")}
    assert left == {"mlflow-artifacts/1/weights", "mlflow.db"}


def test_a_folder_that_is_not_there_and_a_damaged_manifest_end_it(tmp_path: Path) -> None:
    assert "no such folder" in gc(str(tmp_path / "nothing"), *NONE).output
    folder = tmp_path / "student" / "a-0123456789ab"
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text("{")
    done = gc(str(tmp_path), *NONE, "--delete")
    assert done.exit_code == 2
    assert "damaged" in done.output
    os.utime(folder, (time.time(), time.time()))
    assert (folder / MANIFEST).exists()
