"""Work waits for nodes, says what it waits for, and begins when they are there."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.local import LocalCluster, local_cluster
from tests.faults.driver import Driver
from wd.distributed import resources
from wd.distributed.resources import Want
from wd.errors import UserError
from wd.logs import Voice

ROOT = Path(__file__).parents[2]
MAP = """
import os, sys
from pathlib import Path
import ray
from wd.config import RayConfig
from wd.distributed.map import map_parts
from wd.logs import configure

class Tell:
    def __call__(self, part, out):
        out.touch()
        return {"gpus": ray.get_gpu_ids(), "visible": os.environ.get("CUDA_VISIBLE_DEVICES")}

configure()
config = RayConfig(address=sys.argv[1], gpu=True, gpus_per_worker=0.5, map_cpus=0.5)
parts = [Path(sys.argv[2], f"part-{number}") for number in range(5)]
print(map_parts(Tell, parts, Path(sys.argv[2], "made"), config=config, actor_args=()))
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with local_cluster(cpus=1) as running:
        yield running


@pytest.mark.slow
@pytest.mark.long
def test_a_training_waits_for_its_nodes(
    cluster: LocalCluster, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = write_recipe(tmp_path)
    settings = (
        *("ray.workers=2", "ray.cpus_per_worker=1", f"ray.address={cluster.address}"),
        "teacher.training.batches_per_update=2",
    )
    with Driver(recipe, *settings, environment=cluster.environment) as driver:
        wanted = "teacher: waiting for room: it wants 2 processes of 1 CPUs each, the cluster has 1"
        assert driver.read_until(wanted), driver.output
        cluster.add_node()
        assert driver.end() == 0, driver.output
    assert "teacher: update 8" in driver.output


@pytest.mark.slow
def test_actors_wait_for_a_card_and_share_it(cluster: LocalCluster, tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAP, cluster.address, str(tmp_path)]
    environment = {**cluster.environment, "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stdout
        assert driver.stderr
        said = ""
        for said in driver.stderr:
            if "waiting for room" in said:
                break
        assert "it wants a process of 0.5 CPUs and 0.5 GPU, the cluster has" in said
        cluster.add_node("--num-gpus=1")
        told = driver.stdout.read()
        assert driver.wait() == 0, driver.stderr.read()
    assert told.count("{'gpus': [0], 'visible': '0'}") == 5


def test_failed_starts_end_a_training_and_want_of_room_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ray.train.v2._internal.exceptions import (
        WorkerGroupStartupFailedError,
        WorkerGroupStartupTimeoutError,
    )
    from ray.train.v2._internal.execution.controller.state import (
        InitializingState,
        ReschedulingState,
        RunningState,
    )
    from ray.train.v2.api.exceptions import ControllerError

    from wd.distributed import waiting

    said: list[str] = []
    monkeypatch.setattr(waiting, "say_waiting", lambda want, who: said.append(who))
    clock = iter(range(0, 10_000, 60))
    monkeypatch.setattr(waiting.time, "monotonic", lambda: float(next(clock)))
    callback = waiting.Waiting(Want(1.0, 1.0, "ray.cpus_per_worker", 2), "teacher", 2, Voice.here())
    no_room = ReschedulingState(ControllerError(WorkerGroupStartupTimeoutError(2)))
    died = ReschedulingState(ControllerError(WorkerGroupStartupFailedError("died")))
    before = InitializingState()
    for _ in range(100):
        callback.after_controller_state_update(before, no_room)
    assert said == ["teacher"] * 99
    for _ in range(2):
        callback.after_controller_state_update(before, died)
    callback.after_controller_state_update(before, RunningState())  # a start that did not fail
    for _ in range(2):
        callback.after_controller_state_update(before, died)
    with pytest.raises(UserError, match=r"died 3 times .*\(ray\.max_failures 2\)"):
        callback.after_controller_state_update(before, died)
    assert resources.TELL_SECONDS == 60
