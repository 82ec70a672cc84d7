"""Whatever is killed, and whenever: the same training ends with the same weights."""

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cluster.local import LocalCluster, living_nodes, local_cluster
from tests.faults.driver import Driver, kill_a_worker
from wd.model.directory import WEIGHTS, load_weights

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]
UPDATES = 240  # so many that a kill is noticed before they are done
TRAINING = {
    **{"updates": UPDATES, "batches_per_update": 2, "warmup_updates": 10, "dropout": 0.0},
    "precision": "float32",
    **{"validate_every": 10, "log_every": 1, "bleu_sentences": 0, "average_last": 1},
}
LOCAL = {"RAY_AUTH_MODE": "token"}
HERE = "ray.workers=0"
ONE, TWO = (
    ("ray.workers=1", "ray.cpus_per_worker=0.5"),
    ("ray.workers=2", "ray.cpus_per_worker=0.5"),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, write_recipe: Callable[..., Path]) -> Path:
    """The recipe of a run that nobody disturbed."""
    recipe = write_recipe(tmp_path_factory.mktemp("whole"), training=TRAINING)
    with Driver(recipe, HERE, environment=LOCAL) as driver:
        assert driver.end() == 0, driver.output
    return recipe


@pytest.fixture
def broken(whole: Path, tmp_path: Path) -> Path:
    """The same with all but its training done."""
    shutil.copytree(whole.parent, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "root" / "teacher")
    recipe = tmp_path / whole.name
    recipe.write_text(whole.read_text().replace(str(whole.parent), str(tmp_path)))
    return recipe


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with local_cluster(cpus=1) as running:
        yield running


def weights(recipe: Path) -> Mapping[str, Tensor]:
    (path,) = recipe.parent.glob(f"root/teacher/*/{WEIGHTS}")
    return load_weights(path)


def assert_close(recipe: Path, other: Path) -> None:
    expected = weights(other)
    for name, weight in weights(recipe).items():
        if name.endswith("key.bias"):
            continue  # the softmax cancels it: its gradient is rounding noise, which Adam scales up
        torch.testing.assert_close(weight, expected[name], rtol=1e-3, atol=1e-4)


@pytest.mark.long
def test_a_killed_worker_is_replaced(whole: Path, broken: Path) -> None:
    chance = random.Random(1)
    update = chance.randint(15, 50)
    with Driver(broken, *TWO, environment=LOCAL) as driver:
        assert driver.read_until(f"teacher: update {update} of"), driver.output
        assert kill_a_worker(chance)
        assert update - 10 <= driver.resumed() < UPDATES
        assert driver.end() == 0, driver.output
    assert_close(broken, whole)


def test_a_killed_driver_goes_on_bit_for_bit(whole: Path, broken: Path) -> None:
    update = random.Random(2).randint(15, 50)
    with Driver(broken, *ONE, environment=LOCAL) as driver:
        assert driver.read_until(f"teacher: update {update} of"), driver.output
        driver.kill()
    with Driver(broken, HERE, environment=LOCAL) as again:
        assert update - 10 <= again.resumed() < UPDATES
        assert again.end() == 0, again.output
    for name, weight in weights(whole).items():
        assert torch.equal(weights(broken)[name], weight), name


@pytest.mark.long
def test_a_run_goes_on_without_a_lost_node(
    whole: Path, broken: Path, cluster: LocalCluster
) -> None:
    update = random.Random(3).randint(15, 50)
    node = cluster.add_node()
    elastic = ("ray.workers=2", "ray.min_workers=1", "ray.cpus_per_worker=0.7")
    address = f"ray.address={cluster.address}"
    with Driver(broken, *elastic, address, environment=cluster.environment) as driver:
        assert driver.read_until(f"teacher: update {update} of"), driver.output
        os.killpg(node.pid, signal.SIGKILL)
        assert update - 10 <= driver.resumed() < UPDATES
        assert driver.end() == 0, driver.output
    assert_close(broken, whole)


@pytest.mark.long
def test_a_notice_that_a_node_is_to_be_taken_saves(broken: Path, cluster: LocalCluster) -> None:
    """As a cloud gives it for a spot machine; no checkpoint is due before the end."""
    before = living_nodes(cluster)
    cluster.add_node()
    (node,) = living_nodes(cluster) - before
    updates = 4000
    settings = (
        *("ray.workers=2", "ray.cpus_per_worker=0.7", f"ray.address={cluster.address}"),
        *(f"teacher.training.{key}={updates}" for key in ("updates", "validate_every")),
        "teacher.training.log_every=20",
    )
    notice = (
        *(sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--node-id", node),
        *("--address", cluster.address, "--reason", "DRAIN_NODE_REASON_PREEMPTION"),
        *("--reason-message", "test", "--deadline-remaining-seconds", "300"),
    )
    with Driver(broken, *settings, environment=cluster.environment) as driver:
        assert driver.read_until("teacher: update 40 of"), driver.output
        environment = {**os.environ, **cluster.environment}
        given = subprocess.run(notice, env=environment, capture_output=True, text=True, timeout=100)
        assert given.returncode == 0, given.stderr
        saved: list[Path] = []
        while not saved and driver.read_until("teacher: update "):
            saved = list(broken.parent.glob("root/.work/teacher/*/checkpoints/update-*"))
    assert saved, driver.output
    assert 40 < int(saved[0].name.removeprefix("update-")) < updates
