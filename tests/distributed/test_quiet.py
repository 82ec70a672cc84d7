"""What reaches the log of a run on Ray: our lines, and of Ray's none that says nothing."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[2]
OURS = re.compile(
    r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "
    r"(making|made|exists|warning: |ray: dashboard|corpus: |shards: |teacher: |pseudo: )"
)

NAMED = "Actor with class name: 'MapWorker("
"""The one line that a library in C++ writes past Python in the command's own process."""


def wd(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines", *arguments],
        cwd=ROOT,
        env={**os.environ, "RAY_AUTH_MODE": "token", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=500,
    )


@pytest.mark.long
@pytest.mark.slow
def test_no_line_of_a_run_is_ray_s(tmp_path: Path, write_recipe: Callable[..., Path]) -> None:
    ray = {"workers": 2, "cpus_per_worker": 0.5, "map_cpus": 0.5}
    recipe = write_recipe(tmp_path, ray=ray, training={"batches_per_update": 2, "log_every": 2})
    assert wd("shards", str(recipe), "ray.workers=0").returncode == 0
    done = wd("pseudo", str(recipe))
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    foreign = [line for line in lines if not OURS.search(line)]
    assert [line for line in foreign if NAMED not in line] == []
    assert len(foreign) <= 1
    assert any("teacher: update 8 of 8, loss" in line for line in lines)
    assert len(done.stdout.splitlines()) == 1  # the artifact's path

    told = wd("generator", str(recipe), "--log", "json")
    assert told.returncode == 0, told.stderr
    records = [json.loads(line) for line in told.stderr.splitlines()]
    assert len({record["run"] for record in records}) == 1
    updates = [record for record in records if "progress" in record]
    assert {"generator"} <= {record["stage"] for record in updates} <= {"generator", "shards"}
    assert all(record["artifact"].startswith(f"{record['stage']}/") for record in updates)


@pytest.mark.long
@pytest.mark.slow
def test_a_worker_s_traceback_shows(tmp_path: Path, write_recipe: Callable[..., Path]) -> None:
    """An error that is none of the user's, in a process of Ray's."""
    recipe = write_recipe(tmp_path, ray={"workers": 1, "cpus_per_worker": 0.5, "map_cpus": 0.5})
    assert wd("shards", str(recipe), "ray.workers=0").returncode == 0
    (manifest,) = (tmp_path / "root").glob("shards/*/manifest.json")
    tree = json.loads(manifest.read_text())
    for shard in manifest.parent.glob("train/*.parquet"):
        pq.write_table(pa.table({"other": [1]}), shard)
        tree["files"][f"train/{shard.name}"]["bytes"] = shard.stat().st_size
    manifest.write_text(json.dumps(tree))
    done = wd("teacher", str(recipe), "ray.max_failures=0")
    assert done.returncode != 0
    assert "Traceback (most recent call last)" in done.stderr
    assert re.search(r"^\S+Error: ", done.stderr, re.MULTILINE)
