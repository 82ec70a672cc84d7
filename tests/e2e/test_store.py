"""Jobs on machines that have nothing in common but a store: every stage, and what goes wrong."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.cluster.submitting import ended, log_with, ray, submit, submitted
from tests.e2e.machines import Machines, separate_machines
from tests.faults.driver import Driver
from tests.mlflow_server import mlflow_server
from tests.store.s3_server import CREDENTIALS, be_busy
from wd.artifacts import Artifact, Store
from wd.model.directory import WEIGHTS
from wd.store import objects
from wd.tracking import connect

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
UPDATES = 240  # so many that a kill is noticed before they are done
TRAINING = {
    **{"updates": 30, "batches_per_update": 2, "warmup_updates": 10, "dropout": 0.1},
    **{"validate_every": 10, "log_every": 1, "bleu_sentences": 5, "average_last": 2},
    "precision": "float32",
}
GOING_ON = "generator: going on from update"
ON_NODES = ("ray.workers=1", "ray.cpus_per_worker=0.6", "ray.map_cpus=0.5")
SETTINGS = {
    **CREDENTIALS,
    # Bits depend on how many threads add up; a lost node is to be missed soon, and another has
    # time to take over on a busy machine.
    "OMP_NUM_THREADS": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.3",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "60",
}


@pytest.fixture
def machines() -> Iterator[Machines]:
    with separate_machines(SETTINGS) as running:
        yield running


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


def test_a_job_with_nothing_shared_ends_in_the_registry(
    machines: Machines,
    recipe: Path,
    whole: Path,
    store_server: str,
    store_root: str,
    tmp_path: Path,
) -> None:
    for number in (1, 2):
        machines.start(number)
    with mlflow_server(tmp_path) as (server, _):
        job = ("run", str(recipe), *ON_NODES, f"root={store_root}")
        be_busy(store_server, 40)
        try:
            status, log, messages = submit(machines.cluster, *job, MLFLOW_TRACKING_URI=server)
            assert status == 0, log + messages
        finally:
            be_busy(store_server, 0)
        assert "registered: store-tiny version 1" in log
        version = connect(server).get_model_version_by_alias("store-tiny", "champion")
        assert version.version == "1"
        assert_same_bits(store_root, whole)
        assert made(store_root).keys() >= {
            name for name in made(str(whole)) if not name.startswith(("evaluation/", "registry/"))
        }
        for number in (1, 2):  # each has done its part, on its own disk
            assert list(machines.cache(number).glob("*/*"))
        for folder in (".work", ".leases"):
            assert objects.found(store_root, folder) == []
        machines.empty(0)
        status, log, messages = submit(machines.cluster, *job, MLFLOW_TRACKING_URI=server)
        assert status == 0, log + messages
        assert "making" not in log


def prepare(root: str, whole: Path) -> None:
    """Let a root have all that a folder has up to the pseudo-data."""
    for name in made(str(whole)):
        if name.startswith(("corpus/", "tokenizer/", "shards/", "teacher/", "pseudo/")):
            for path in (whole / name).rglob("*"):
                if path.is_file():
                    objects.upload(root, path, path.relative_to(whole).as_posix())


def resumed(machines: Machines, job: str) -> int:
    """Return the update that a job's training goes on from, as soon as it does."""
    return resumed_in(log_with(machines.cluster, job, GOING_ON))


def resumed_in(log: str) -> int:
    return int(log.partition(GOING_ON)[2].split()[0])


def test_a_lost_node_a_cancelled_job_and_a_killed_one_in_phase_one(
    machines: Machines, recipe: Path, whole: Path, store_root: str
) -> None:
    prepare(store_root, whole)
    longer = f"generator.training.updates={UPDATES}"
    generator = ("generator", str(recipe), *ON_NODES, longer, f"root={store_root}")
    node = machines.start(1)
    job = submitted(machines.cluster, *generator)
    log_with(machines.cluster, job, "generator: update 25 of")
    os.killpg(node.pid, signal.SIGKILL)
    machines.start(2)  # takes long enough for an undisturbed training to end
    assert 10 <= resumed(machines, job) < UPDATES
    log_with(machines.cluster, job, "generator: update 75 of")
    ray(machines.cluster, "job", "stop", job)
    log = ray(machines.cluster, "job", "logs", job).stdout
    assert "saving, then stopping" in log
    assert ended(machines.cluster, job) == "stopped"

    machines.empty(0)
    job = submitted(machines.cluster, *generator)
    assert 75 <= resumed(machines, job) < UPDATES
    log_with(machines.cluster, job, "generator: update 125 of")
    kill_driver("generator")
    assert ended(machines.cluster, job) == "failed"

    machines.empty(0)
    status, log, messages = submit(machines.cluster, *generator)
    assert status == 0, log + messages
    assert 110 <= resumed_in(log) < UPDATES
    with Driver(recipe, longer, environment={}, command="generator") as alone:
        assert alone.end() == 0, alone.output
    (there,) = [one for name, one in made(store_root).items() if name.startswith("generator/")]
    here = made(str(whole))[there.name]
    for file in ("generator.safetensors", f"student/{WEIGHTS}"):
        assert there.manifest["files"][file] == here.manifest["files"][file]


def kill_driver(command: str) -> None:
    """SIGKILL the job's process, as a machine that is out of memory does."""
    line, running = ["-m", "pipelines", command], psutil.process_iter(["cmdline"])
    (driver,) = [one for one in running if (one.info["cmdline"] or [])[1:4] == line]
    driver.kill()


def test_studies_spread_over_machines(
    machines: Machines, recipe: Path, whole: Path, store_root: str
) -> None:
    """Students and trials train on nodes that see nothing of each other, nor of the text."""
    prepare(store_root, whole)
    for number in (1, 2):
        machines.start(number, recipe.parent)
    two = ("ray.workers=1", "ray.cpus_per_worker=1", "ray.map_cpus=0.5", f"root={store_root}")
    ladder = ("ladder", str(recipe), "--method", "wd", "--concurrent", "2", *two)
    status, log, messages = submit(machines.cluster, *ladder)
    assert status == 0, log + messages
    names = made(store_root)
    assert {name.partition("/")[0] for name in names} >= {"ladder", "student", "generator"}
    assert_same_bits(store_root, whole)
    for number in (1, 2):  # each has fetched what its student reads; weights only WD's, and scoring
        assert list(machines.cache(number).glob("**/shards/*-pseudo-*/train/*.parquet")), number
    assert any(list(machines.cache(number).glob("**/*.safetensors")) for number in (1, 2))

    sweep = ("sweep", str(recipe), "--space", "student_shape", "--max-trials", "2", *two)
    status, log, messages = submit(machines.cluster, *sweep)
    assert status == 0, log + messages
    assert "winner: " in log
    assert len([name for name in made(store_root) if name.startswith("generator/")]) >= 2
