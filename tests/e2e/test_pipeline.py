"""The whole pipeline on a small corpus, killed on its way, finished, repeated, used."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from wd.generator.directory import load_generator
from wd.model.directory import save_weights

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]

TRAINING = {
    "teacher": "teacher: update ",
    "student/e2e-tiny-kd": "kd student: update ",
    "generator": "generator: update ",
    "student/e2e-tiny-wd": "wd student: update ",
}
STAGES = (
    "corpus",
    "tokenizer",
    r"shards/e2e-[0-9a-f]{12}",
    "teacher",
    "pseudo",
    "shards/e2e-pseudo",
    "student/e2e-tiny-kd",
    "generator",
    "student/e2e-tiny-wd",
    "evaluation",
    "registry",
)
ON_RAY = ("corpus", "tokenizer", "shards/e2e-pseudo")
"""Who is killed here has made what comes before by Ray Data; the others do all by themselves."""


SOME = ("generator",)


@pytest.fixture
def recipe(tmp_path: Path, write_recipe: Callable[..., Path]) -> Path:
    return write_recipe(
        tmp_path,
        name="e2e",
        registry={"min_bleu": 0.0, "gate": {"min_teacher_share": None}},
        training={"updates": 60, "warmup_updates": 10, "validate_every": 5},
    )


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, "RAY_AUTH_MODE": "token", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        timeout=500,
    )


def killed_at(recipe: Path, stage: str) -> str:
    """Run until `stage` is being made, and return the output.

    A training stage is killed when its third checkpoint is due, since only then the first is sure.
    """
    sign = f"{TRAINING[stage]}15:" if stage in TRAINING else f"making  {stage}"
    workers = ("ray.workers=1", "ray.cpus_per_worker=0.5") if stage in ON_RAY else ()
    done = run("tests.e2e.run_until", sign, str(recipe), *workers)
    assert done.returncode == -signal.SIGKILL, f"not killed at {stage}:\n{done.stdout}"
    return done.stdout


def finished(recipe: Path) -> str:
    done = run("pipelines.run", str(recipe))
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.timeout(900)
@pytest.mark.parametrize("killed", [SOME, pytest.param(STAGES, marks=pytest.mark.long)], ids=len)
def test_killed_finished_repeated_used(recipe: Path, killed: Sequence[str]) -> None:
    told = [killed_at(recipe, stage) for stage in killed]
    output = finished(recipe)
    for sign in TRAINING.values():  # what was killed in training went on from a checkpoint
        assert "".join([*told, output]).count(f"{sign}5:") == 1
    root = recipe.parent / "root"
    for stage in STAGES[: STAGES.index(killed[-1])]:  # what was finished before is found
        assert not re.search(f"making  {stage}", output)
    for word in ("teacher", "KD", "WD", "compression", "registered: e2e-tiny version 1"):
        assert word in output
    (report,) = root.glob("evaluation/*/report.json")
    rows = {row["name"]: row for row in json.loads(report.read_text())["rows"]}
    assert rows["KD"]["parameters"] == rows["WD"]["parameters"] < rows["teacher"]["parameters"]

    again = finished(recipe)
    assert "making" not in again
    assert "WD" in again
    check_tracking(root)
    check_registered_model(root)
    check_generator(root)
    check_what_is_done_again(recipe)


def check_tracking(root: Path) -> None:
    """One parent run, one finished child per stage that was made, for all three attempts."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiments = [each.experiment_id for each in client.search_experiments()]
    runs = client.search_runs(experiments)
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    names = [run.data.tags["wd.artifact"] for run in children]
    assert len(names) == len(set(names)) == 11
    assert {run.info.status for run in runs} == {"FINISHED"}


def check_registered_model(root: Path) -> None:
    """A new process translates with the registered model."""
    code = (
        "import mlflow, sys; mlflow.set_tracking_uri(sys.argv[1]);"
        "model = mlflow.pyfunc.load_model('models:/e2e-tiny@champion');"
        "print(len(model.predict(['Der Hund sieht das Haus.', ''])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"sqlite:///{root / 'mlflow.db'}"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.splitlines()[-1:] == ["2"], done.stderr


def check_generator(root: Path) -> None:
    """It makes the published student again, byte for byte, whatever the number of threads."""
    (folder,), (teacher,) = root.glob("generator/*/"), root.glob("teacher/*/")
    again = root / "again.safetensors"
    save_weights(again, load_generator(folder, teacher).published())
    assert again.read_bytes() == (folder / "student" / "model.safetensors").read_bytes()


def check_what_is_done_again(recipe: Path) -> None:
    """From the pseudo-data on, their batches too, but not those of the original pairs."""
    told = run("pipelines.run", str(recipe), "--from", "pseudo", "--dry-run", "--json").stdout
    outlook = json.loads(told.splitlines()[-1])
    stays = [name.rpartition("-")[0] for name, state in outlook.items() if state == "exists"]
    assert stays == ["corpus/e2e", "tokenizer/e2e", "shards/e2e", "teacher/e2e"]
    assert len(outlook) == 11
