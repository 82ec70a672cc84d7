"""`python -m cluster.submit` and Ray's own commands as a user types them."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from cluster.local import LocalCluster

ROOT = Path(__file__).parents[2]


def submit(
    cluster: LocalCluster, *arguments: str, options: Iterable[str] = (), **environment: str
) -> tuple[int, str, str]:
    """Run `python -m cluster.submit`; return exit status, the job's log, messages."""
    done = run(cluster, "-m", "cluster.submit", *options, *arguments, **environment)
    return done.returncode, done.stdout, done.stderr


def ray(cluster: LocalCluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of Ray's commands."""
    return run(cluster, "-m", "ray.scripts.scripts", *arguments)


def run(
    cluster: LocalCluster, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python in the checkout as a client of the cluster."""
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **cluster.environment, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=550,
    )


def submitted(cluster: LocalCluster, *arguments: str) -> str:
    """Send a job without waiting for it; return its id."""
    status, _, messages = submit(cluster, *arguments, options=["--no-wait"])
    assert status == 0, messages
    return messages.split()[1]


def log_with(cluster: LocalCluster, job: str, sign: str) -> str:
    """Return a job's log as soon as it holds a sign."""
    deadline = time.monotonic() + 200
    while sign not in (log := ray(cluster, "job", "logs", job).stdout):
        assert time.monotonic() < deadline, log
        time.sleep(0.5)
    return log


def ended(cluster: LocalCluster, job: str) -> str:
    """Return how a job ended, as soon as it has: stopped, failed or succeeded."""
    deadline = time.monotonic() + 100
    while True:
        said = ray(cluster, "job", "status", job).stdout
        for status in ("was stopped", "failed", "succeeded"):
            if f"'{job}' {status}" in said:
                return status.split()[-1]
        assert time.monotonic() < deadline, said
        time.sleep(0.5)
