import os
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_cluster_that_does_not_answer_is_told_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # In a process of its own: in this one, Ray may be running already.
    code = (
        "from wd.config import RayConfig; from wd.distributed.runtime import ensure_ray; "
        "from wd.errors import UserError\n"
        f"try: ensure_ray(RayConfig(address='127.0.0.1:{port}'))\n"
        "except UserError as error: print(error)"
    )
    started = time.monotonic()
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert f"ray.address 127.0.0.1:{port}: nothing answers there" in ran.stdout
    assert time.monotonic() - started < 60


def test_progress_of_a_worker_that_replaces_another_is_shown() -> None:
    """Ray shows a line once if workers seem to say the same; our own records are all news."""
    code = (
        "from wd.logs import MARK; from wd.config import RayConfig\n"
        "from wd.distributed.runtime import prepare_ray; prepare_ray(RayConfig())\n"
        "from ray._private.ray_logging import stderr_deduplicator as seen\n"
        "for worker in (1, 2):\n"
        "    for line in (MARK + 'going on from update 50', 'UserWarning: 50 of them'):\n"
        "        batch = {'ip': '', 'pid': worker, 'lines': [line]}\n"
        "        print(worker, seen.deduplicate(batch)[0]['lines'])\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ran.stdout.splitlines() == [
        "1 ['wd-record: going on from update 50']",
        "1 ['UserWarning: 50 of them']",
        "2 ['wd-record: going on from update 50']",
        "2 []",
    ]


def test_a_cluster_that_does_not_come_up_is_one_message(tmp_path: Path) -> None:
    no_folder = tmp_path / "file"
    no_folder.touch()
    start = "from wd.config import RayConfig; from wd.distributed.runtime import ensure_ray\n"
    start += "from wd.errors import ClusterError\ntry: ensure_ray(RayConfig())\n"
    start += "except ClusterError as error: print(error)"
    made = subprocess.run(
        [sys.executable, "-c", start],
        env=os.environ | {"RAY_TMPDIR": str(no_folder)},
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert made.stdout.startswith("ray: no local cluster could be started: "), made.stdout
    assert "Not a directory" in made.stdout
