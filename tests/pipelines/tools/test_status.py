"""What `wd status` tells of runs of other processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import wd.status
from pipelines.commands import cli
from pipelines.commands.root_commands import root_of
from pipelines.tools import status as looking

ROOT = Path(__file__).parents[3]
LONG = {"updates": 100_000, "log_every": 5, "validate_every": 10, "bleu_sentences": 5}


def wd_status(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["status", *map(str, arguments)])


def seen(root: Path, enough: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Return what is told of the only unfinished work when it is as wanted."""
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline:
        told = looking.status(str(root))["unfinished"] if root.is_dir() else []
        if told and enough(told[-1]):
            return dict(told[-1])
        time.sleep(0.2)
    pytest.fail(f"not seen: {told}")


@contextmanager
def until_killed(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of wd's beside the context, and kill it and all that it started at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines", *arguments],
        cwd=ROOT,
        env={**os.environ, "RAY_AUTH_MODE": "token"},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.long)])
def test_a_training_in_another_process_is_watched(
    tmp_path: Path,
    write_recipe: Callable[..., Path],
    workers: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe, root = write_recipe(tmp_path, training=LONG), tmp_path / "root"
    settings = [f"ray.workers={workers}", "ray.cpus_per_worker=0.5"]
    with until_killed("teacher", str(recipe), *settings) as training:
        one = seen(root, lambda one: {"progress", "validation", "checkpoint"} <= set(one))
        assert one["state"] == "making"
        assert one["stage"] == "teacher"
        assert one["process"] == training.pid
        assert one["progress"]["of"] == LONG["updates"]
        assert one["progress"]["loss"] > 0
        assert one["progress"]["seconds_left"] > 0
        assert {"loss", "bleu", "chrf"} <= set(one["validation"])
        assert one["checkpoint"] % 10 == 0
        assert "mlflow.db" in one["mlflow"]
        told = wd_status(recipe).stdout
        assert "updates, loss " in told
        assert f"process {training.pid}" in told
    monkeypatch.setattr(wd.status, "SILENT_SECONDS", 0.0)
    assert seen(root, lambda one: one["state"] == "silent")["checkpoint"] >= one["checkpoint"]
    assert "no sign of life since" in wd_status(root).stdout
    made = json.loads(wd_status(root, "--json").stdout)["made"]
    assert [each["stage"] for each in made] == ["corpus", "tokenizer", "shards"]
    assert all(each["bytes"] > 0 and each["seconds"] >= 0 for each in made)


def manifest(root: Path, name: str, created: str) -> None:
    (root / name).mkdir(parents=True)
    files = {"a": {"bytes": 1_500_000, "sha256": "0"}, "b": {"bytes": 500_000, "sha256": "0"}}
    tree = {"files": files, "created": created, "seconds": 61.4}
    (root / name / "manifest.json").write_text(json.dumps(tree))


def test_a_finished_root_is_a_table_in_the_stages_order(tmp_path: Path) -> None:
    for name, created in (("student/x-2", "02"), ("student/x-1", "03"), ("corpus/x-3", "04")):
        manifest(tmp_path, name, f"2026-11-{created}T10:00:00+00:00")
    (tmp_path / "student" / ".x-4.partial").mkdir()
    (tmp_path / "corpus" / "not-finished").mkdir()
    (tmp_path / "corpus" / "damaged").mkdir()
    (tmp_path / "corpus" / "damaged" / "manifest.json").write_text("{")
    told = json.loads(wd_status(tmp_path, "--json").stdout)
    names = [one["artifact"] for one in told["made"]]
    assert names == ["corpus/x-3", "corpus/damaged", "student/x-2", "student/x-1"]
    assert told["unfinished"] == []
    shown = wd_status(tmp_path).stdout
    assert "0:01:01" in shown
    assert "2.0 MB" in shown
    assert "damaged: not a manifest" in " ".join(shown.split())


def test_an_empty_root_and_none(tmp_path: Path) -> None:
    assert f"{tmp_path}: nothing is made here yet" in "".join(
        wd_status(tmp_path).stdout.split("\n")
    )
    missing = wd_status(tmp_path / "missing")
    assert missing.exit_code == 2
    assert "there is no such root" in missing.stderr
    assert len(missing.stderr.splitlines()) == 1


def test_a_recipe_means_its_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert root_of("quickstart") == "artifacts"
    assert root_of("s3://bucket/quickstart") == "s3://bucket/quickstart"
    assert root_of(str(tmp_path)) == str(tmp_path)
    assert root_of("qqq") == "qqq"


def test_it_looks_again_until_it_is_interrupted(tmp_path: Path) -> None:
    manifest(tmp_path, "corpus/x-1", "2026-11-02T10:00:00+00:00")
    command = ["-m", "pipelines", "status", str(tmp_path), "--json", "--watch", "0.1"]
    with subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as watching:
        assert watching.stdout
        assert len(json.loads(watching.stdout.readline())["made"]) == 1
        manifest(tmp_path, "corpus/x-2", "2026-11-02T10:00:00+00:00")
        for line in watching.stdout:
            if len(json.loads(line)["made"]) == 2:
                break
        watching.send_signal(signal.SIGINT)
        assert watching.wait(timeout=30) == 0
