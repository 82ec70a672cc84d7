"""Machines that have nothing in common but a store: every stage, and whatever is killed.

Each node of the cluster, and the driver, has a home, a cache and a temporary folder of its own, and
sees none of the others': they are hidden where the system lets us mount.
"""

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster.local import LocalCluster, local_cluster
from tests.faults.driver import Driver
from tests.store.s3_server import CREDENTIALS, be_busy
from wd.artifacts import Artifact, Store
from wd.model.directory import WEIGHTS
from wd.store import objects

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
UPDATES = 240  # so many that a kill is noticed before they are done
TRAINING = {
    **{"updates": 30, "batches_per_update": 2, "warmup_updates": 10, "dropout": 0.1},
    **{"validate_every": 10, "log_every": 1, "bleu_sentences": 5, "average_last": 2},
    "precision": "float32",
}
ON_NODES = ("ray.workers=1", "ray.cpus_per_worker=0.6", "ray.map_cpus=0.5")


@dataclass(frozen=True)
class Machines:
    """A cluster whose head, where the driver is, computes nothing, and folders of its machines."""

    cluster: LocalCluster
    folder: Path

    def place(self, number: int) -> Path:
        """Return the folder of a machine; 0 is the driver's."""
        return self.folder / f"machine-{number}"

    def environment(self, number: int) -> dict[str, str]:
        """Return what a process of a machine has in its environment."""
        place = self.place(number)
        names = {"HOME": "home", "XDG_CACHE_HOME": "cache", "TMPDIR": "tmp"}
        for name in names.values():
            (place / name).mkdir(parents=True, exist_ok=True)
        own = {variable: str(place / name) for variable, name in names.items()}
        if number == 0:
            # Time for a node to take over, on a busy machine.
            own |= {**self.cluster.environment, "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "60"}
        return {**own, **CREDENTIALS}

    def start(self, number: int) -> subprocess.Popen[bytes]:
        """Start a machine's node."""
        own = self.environment(number)
        hidden = [self.place(other) for other in range(4) if other != number]
        for each in hidden:
            each.mkdir(exist_ok=True)
        return self.cluster.add_node("--num-cpus=1", environment=own, within=hiding(hidden))

    def empty(self, number: int) -> None:
        """Empty a machine's disk."""
        shutil.rmtree(self.place(number))


def hiding(folders: list[Path]) -> tuple[str, ...]:
    """Return a command that runs another, which sees these folders empty."""
    if subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        return ()
    mounts = [f"mount -t tmpfs none {shlex.quote(str(folder))}" for folder in folders]
    return ("unshare", "--mount", "sh", "-c", " && ".join([*mounts, 'exec "$@"']), "sh")


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    with local_cluster(cpus=0) as running:
        yield Machines(running, tmp_path)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, write_recipe: Callable[..., Path]) -> Path:
    return write_recipe(
        tmp_path_factory.mktemp("store"),
        name="store",
        registry={"min_bleu": 0.0, "gate": {"min_teacher_share": None}},
        training=TRAINING,
    )


@pytest.fixture(scope="module")
def whole(recipe: Path) -> Path:
    """The root, a folder, of the same run in one process that nobody disturbed."""
    with Driver(recipe, environment={}, command="run") as driver:
        assert driver.end() == 0, driver.output
    return recipe.parent / "root"


def made(root: str) -> dict[str, Artifact]:
    return {artifact.name: artifact for artifact in Store(root).artifacts()}


def assert_same_bits(root: str, whole: Path) -> None:
    """Compare all that does not tell how long something took.

    Scores of pseudo-data round with the number of threads; what is made of the text is compared.
    """
    expected, found = made(str(whole)), made(root)
    compared = 0
    for name, artifact in expected.items():
        if name.startswith(("pseudo/", "evaluation/", "registry/")) or name not in found:
            continue
        files = found[name].manifest["files"]
        for file, told in artifact.manifest["files"].items():
            if file.endswith((".parquet", ".safetensors", ".model")):
                assert files[file] == told, f"{name}/{file}"
                compared += 1
    assert compared > 5


def run(
    machines: Machines, recipe: Path, root: str, command: str = "run", *settings: str
) -> Driver:
    settings = (*ON_NODES, *settings, f"ray.address={machines.cluster.address}", f"root={root}")
    return Driver(recipe, *settings, environment=machines.environment(0), command=command)


def test_every_stage_with_nothing_shared(
    machines: Machines, recipe: Path, whole: Path, store_server: str, store_root: str
) -> None:
    for number in (1, 2):
        machines.start(number)
    be_busy(store_server, 40)
    try:
        with run(machines, recipe, store_root) as driver:
            assert driver.end() == 0, driver.output
    finally:
        be_busy(store_server, 0)
    assert "registered: store-tiny version 1" in driver.output
    assert_same_bits(store_root, whole)
    assert made(store_root).keys() >= {
        name for name in made(str(whole)) if not name.startswith(("evaluation/", "registry/"))
    }
    for number in (1, 2):  # each has done its part, on its own disk
        assert list(machines.place(number).glob("cache/weight-distillation/*/*"))
    for folder in (".work", ".leases"):
        assert objects.found(store_root, folder) == []
    shutil.rmtree(machines.place(0) / "cache" / "weight-distillation" / "artifacts")
    with run(machines, recipe, store_root) as again:
        assert again.end() == 0, again.output
    assert "making" not in again.output


def prepare(root: str, whole: Path) -> None:
    """Let a root have all that a folder has up to the pseudo-data."""
    for name in made(str(whole)):
        if name.startswith(("corpus/", "tokenizer/", "shards/", "teacher/", "pseudo/")):
            for path in (whole / name).rglob("*"):
                if path.is_file():
                    objects.upload(root, path, path.relative_to(whole).as_posix())


LONG = f"generator.training.updates={UPDATES}"


def test_a_lost_node_and_a_killed_driver_in_phase_one(
    machines: Machines, recipe: Path, whole: Path, store_root: str
) -> None:
    prepare(store_root, whole)
    node = machines.start(1)
    with run(machines, recipe, store_root, "generator", LONG) as driver:
        assert driver.read_until("generator: update 25 of"), driver.output
        os.killpg(node.pid, signal.SIGKILL)
        machines.start(2)  # takes long enough for an undisturbed training to end
        assert 10 <= driver.resumed() < UPDATES
        assert driver.read_until("generator: update 75 of"), driver.output
        driver.kill()
    machines.empty(0)
    with run(machines, recipe, store_root, "generator", LONG) as again:
        assert 60 <= again.resumed() < UPDATES
        assert again.end() == 0, again.output
    with Driver(recipe, LONG, environment={}, command="generator") as alone:
        assert alone.end() == 0, alone.output
    (there,) = [one for name, one in made(store_root).items() if name.startswith("generator/")]
    here = made(str(whole))[there.name]
    for file in ("generator.safetensors", f"student/{WEIGHTS}"):
        assert there.manifest["files"][file] == here.manifest["files"][file]
