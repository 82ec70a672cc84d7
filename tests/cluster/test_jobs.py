"""A real cluster with token authentication takes a run as a job and tells how it went."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.local import LocalCluster, local_cluster
from pipelines.context import STAGES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with local_cluster(cpus=2) as running:
        yield running


def submit(cluster: LocalCluster, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run `python -m cluster.submit`; return exit status, the job's log, messages."""
    done = subprocess.run(
        [sys.executable, "-m", "cluster.submit", *arguments],
        env={**os.environ, **cluster.environment, **environment},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=550,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_run_succeeds_as_a_job(
    cluster: LocalCluster, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    ray = {"cpus_per_worker": 0.5, "map_cpus": 0.5}
    recipe = str(write_recipe(tmp_path, name="job", ray=ray))

    status, log, messages = submit(cluster, recipe, "ray.workers=1", "--command", "teacher")
    assert status == 0, log + messages
    assert "made    teacher/job-" in log

    # A second job goes on from there. How training is distributed is not part of the result, so
    # the rest trains in the job's own process, which starts faster.
    status, log, messages = submit(cluster, recipe, "ray.workers=0")
    assert status == 0, log + messages
    assert "SUCCEEDED" in messages
    assert "exists  teacher/job-" in log
    assert "registered: job-tiny version 1" in log
    assert {path.name for path in (tmp_path / "root").iterdir()} >= set(STAGES)


def test_a_bad_recipe_fails_with_its_message_in_the_log(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    missing = tmp_path / "missing"
    status, log, messages = submit(
        cluster, "wmt14-ende-base", f"root={tmp_path}", f"corpus.dir={missing}"
    )
    assert status == 2, log + messages
    assert "FAILED" in messages
    assert "Traceback" not in log
    assert f"error: {missing}" in log


def test_a_wrong_token_is_refused(cluster: LocalCluster, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0" * 64)
    status, _, messages = submit(cluster, "wmt14-ende-base", RAY_AUTH_TOKEN_PATH=str(token))
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
            cwd=Path(__file__).parents[2],
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
    status, _, messages = submit(nowhere, "wmt14-ende-base")
    assert status == 2
    assert "no Ray dashboard answers" in messages
