"""A real cluster with token authentication takes any command as a job and tells how it went."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.local import LocalCluster, local_cluster
from pipelines.context import STAGES
from tests.cluster.submitting import ROOT, log_with, ray, submit, submitted

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with local_cluster(cpus=2) as running:
        yield running


def test_a_run_succeeds_as_a_job(
    cluster: LocalCluster, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    """It trains in the job's own process; tests/e2e/test_store.py has workers."""
    recipe = str(write_recipe(tmp_path, name="job"))
    status, log, messages = submit(cluster, "run", recipe)
    assert status == 0, log + messages
    assert "files, " in messages
    assert "SUCCEEDED" in messages
    assert "registered: job-tiny version 1" in log
    assert {path.name for path in (tmp_path / "root").iterdir()} >= set(STAGES)


def test_a_sweeps_options_and_ones_own_space_go_along(
    cluster: LocalCluster, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    """Only where the sweep runs is the space read: it tells what is wrong in the file it got."""
    recipe = str(write_recipe(tmp_path, name="job"))
    space = tmp_path / "space.yaml"
    space.write_text("students.tiny.decoder.layer: [1, 2]\n")
    options = ["--space", str(space), "--trials=2", "--updates", "4"]
    status, log, messages = submit(cluster, "sweep", recipe, *options)
    assert status == 2, log + messages
    assert "sweep ./job.yaml --space ./space.yaml --trials=2 --updates 4" in log
    assert "error: --space space.yaml: " in log
    assert "did you mean students.tiny.decoder.layers?" in log


def test_rays_own_command_is_equal(
    cluster: LocalCluster, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    recipe = str(write_recipe(tmp_path, name="job"))
    line = f"job submit --working-dir . -- {sys.executable} -m pipelines corpus {recipe}"
    done = ray(cluster, *line.split())
    assert done.returncode == 0, done.stdout + done.stderr
    status, log, messages = submit(cluster, "corpus", recipe)
    assert status == 0, messages
    assert "exists  corpus/job-" in log


def test_a_bad_recipe_fails_with_its_message_in_the_log(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    missing = tmp_path / "missing"
    status, log, messages = submit(
        cluster, "run", "wmt14-ende-base", f"root={tmp_path}", f"corpus.dir={missing}"
    )
    assert status == 2, log + messages
    assert "FAILED" in messages
    assert "Traceback" not in log
    assert f" error: {missing}" in log


def test_a_stopped_job_saves_and_the_next_goes_on(
    cluster: LocalCluster, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    endless = {"updates": 100_000, "validate_every": 100_000, "log_every": 10}
    recipe = str(write_recipe(tmp_path, name="job", training=endless))
    teacher = ("teacher", recipe, "ray.workers=0")
    job = submitted(cluster, *teacher)
    log_with(cluster, job, "teacher: update 20 of")
    stopped = ray(cluster, "job", "stop", job)
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    log = ray(cluster, "job", "logs", job).stdout
    assert "saving, then stopping" in log
    assert "interrupted: what is finished is kept" in log
    assert "was stopped" in ray(cluster, "job", "status", job).stdout
    (saved,) = tmp_path.glob("root/.work/teacher/*/checkpoints/update-*")
    assert int(saved.name.removeprefix("update-")) >= 20

    again = submitted(cluster, *teacher)
    update = int(saved.name.removeprefix("update-"))
    log_with(cluster, again, f"teacher: going on from update {update}")
    ray(cluster, "job", "stop", again)


def test_a_wrong_token_is_refused(cluster: LocalCluster, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0" * 64)
    status, _, messages = submit(cluster, "run", "wmt14-ende-base", RAY_AUTH_TOKEN_PATH=str(token))
    assert status == 2
    assert cluster.dashboard in messages
    assert "no Ray dashboard answers" not in messages
    assert "Traceback" not in messages


def test_a_cluster_ends_before_it_has_the_job(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from wd.distributed.jobs import Jobs
from wd.errors import UserError
jobs = Jobs(sys.argv[1])
print("reached", flush=True)
input()
try:
    jobs.submit(["true"], Path(sys.argv[2]), {})
except UserError as error:
    print(error)
"""
    (tmp_path / "file").write_text("text")
    with local_cluster(cpus=1) as ending:
        client = subprocess.Popen(
            [sys.executable, "-c", script, ending.dashboard, str(tmp_path)],
            env={**os.environ, **ending.environment},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert client.stdout is not None
        assert client.stdout.readline() == "reached\n"
    said, _ = client.communicate("\n", timeout=60)
    assert client.returncode == 0
    assert said.startswith(f"cluster {ending.dashboard}: did not take the job: ")


def test_nothing_answers(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0" * 64)
    nowhere = LocalCluster("127.0.0.1:1", "http://127.0.0.1:1", token, add_node=pytest.fail)
    status, _, messages = submit(nowhere, "run", "wmt14-ende-base")
    assert status == 2
    assert "no Ray dashboard answers" in messages
