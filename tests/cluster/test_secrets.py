"""Secrets that a cluster's nodes have, and its token, are found nowhere but there."""

import json
import os
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.local import LocalCluster, local_cluster
from tests.cluster.submitting import ray, run, submit
from tests.mlflow_server import mlflow_server

pytestmark = pytest.mark.slow
PLANTED = {
    "MLFLOW_TRACKING_USERNAME": "planted-user",
    "MLFLOW_TRACKING_PASSWORD": "planted-password",
    "AWS_ACCESS_KEY_ID": "planted-key-id",
    "AWS_SECRET_ACCESS_KEY": "planted-secret-key",
}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCluster]:
    """A cluster whose nodes have the secrets in their environment, as the one who sends has."""
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    with local_cluster(cpus=2) as running:
        yield running


def holding(folder: Path, secret: str) -> list[Path]:
    """Return the files below a folder that hold a secret."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [path for path in files if secret.encode() in path.read_bytes()]


@pytest.mark.long
def test_planted_secrets_are_found_nowhere(
    cluster: LocalCluster, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    token = cluster.token_path.read_text()
    user, password, *keys = PLANTED.values()
    header = b64encode(f"{user}:{password}".encode()).decode()
    secrets = [token, password, header, *keys]
    recipe = write_recipe(tmp_path, name="job", ray={"cpus_per_worker": 0.5, "map_cpus": 0.5})
    with mlflow_server(tmp_path) as (uri, _):
        told = submit(cluster, "teacher", str(recipe), "ray.workers=1", MLFLOW_TRACKING_URI=uri)
        assert told[0] == 0, told
        assert f"need their own: {', '.join(sorted(PLANTED))}" in told[2]
    assert (tmp_path / "server.db").is_file()
    listed = [
        ray(cluster, "job", "list").stdout,
        *(
            ray(cluster, "list", what, "--detail", "--format=json").stdout
            for what in ("jobs", "actors", "workers", "runtime-envs", "tasks")
        ),
    ]
    assert uri in listed[0]
    for secret in secrets:
        assert not any(secret in text for text in (*map(str, told), *listed))
        assert holding(tmp_path, secret) == []
        assert set(holding(cluster.token_path.parent, secret)) <= {cluster.token_path}


def test_a_servers_password_in_an_address_is_refused_and_not_repeated(
    tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    recipe = str(write_recipe(tmp_path, name="job"))
    uri = "http://me:planted-password@127.0.0.1:9"
    nowhere = LocalCluster("127.0.0.1:1", "http://127.0.0.1:1", tmp_path, add_node=pytest.fail)
    told = run(nowhere, "-m", "pipelines", "corpus", recipe, MLFLOW_TRACKING_URI=uri)
    assert told.returncode == 2
    assert "an address with a password ends up in logs" in told.stderr
    assert "planted" not in told.stdout + told.stderr
    assert holding(tmp_path, "planted") == []


def test_a_roots_keys_are_not_recorded(tmp_path: Path) -> None:
    from wd.config import Recipe
    from wd.tracking import open_tracker, recorded_recipe

    recipe = Recipe(
        name="job",
        source_language="de",
        target_language="en",
        root="s3://planted-key:planted-secret@bucket/x",
    )
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    with open_tracker(recipe, tmp_path) as tracker:
        run_id = tracker.handle().run_id
    found = recorded_recipe(f"sqlite:///{tmp_path / 'mlflow.db'}", run_id=run_id).recipe
    assert found["root"] == "s3://bucket/x"
    assert "planted" not in json.dumps(found)
    assert holding(tmp_path, "planted") == []
