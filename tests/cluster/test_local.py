"""`python -m cluster.local`: whatever ends it, nothing of it stays."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cluster.local import local_cluster

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        *(pytest.param(each, marks=pytest.mark.long) for each in (signal.SIGINT, signal.SIGHUP)),
    ],
)
def test_a_signal_leaves_neither_processes_nor_the_token(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "cluster.local", "--cpus", "1", "--workers", "1"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # whatever started the tests
    )
    assert process.stdout is not None
    said = ""
    while "# then" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    found = re.search(r"RAY_AUTH_TOKEN_PATH=(.+)", said)
    assert found
    folder = Path(found[1]).parent
    of_it = [each for each in psutil.process_iter() if str(folder) in _line(each)]
    assert {"raylet", "gcs_server"} <= {each.name() for each in of_it}

    process.send_signal(number)
    process.send_signal(number)  # the second one finds it busy
    assert process.wait(60) == 130
    assert not psutil.wait_procs(of_it, timeout=5)[1]
    assert not folder.exists()


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has just ended, or is not ours
        return ""


ASKING = """
import ray
from ray.util.state import get_actor
from wd.config import RayConfig
from wd.distributed.runtime import ensure_ray

@ray.remote(num_cpus=0)
class Asking:
    def state(self):
        return get_actor(ray.get_runtime_context().get_actor_id()).state

ensure_ray(RayConfig())
print(ray.get(Asking.remote().state.remote()))
"""


def test_a_ray_of_ones_own_knows_itself_beside_another() -> None:
    """Ray Train asks so whether to free what a dead training holds: it must not ask another's."""
    with local_cluster(cpus=1):
        began = time.monotonic()
        ran = subprocess.run(
            [sys.executable, "-c", ASKING],
            cwd=ROOT,
            env={**os.environ, "RAY_AUTH_MODE": "token"},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert ran.stdout.strip() == "ALIVE", ran.stderr[-2000:]
    assert time.monotonic() - began < 60
