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
