"""A training command as a process of its own that is watched and killed."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

ROOT = Path(__file__).parents[2]


class Driver:
    """`python -m pipelines COMMAND RECIPE OVERRIDES`, and what it has said so far."""

    def __init__(
        self,
        recipe: str | Path,
        *overrides: str,
        environment: Mapping[str, str],
        command: str = "teacher",
    ) -> None:
        self.output = ""
        self._command = command
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipelines", command, str(recipe), *overrides],
            cwd=ROOT,
            # Bits depend on how many threads add up; a lost worker is to be missed soon.
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.3",
                "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "10",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def resumed(self) -> int:
        """Read on until training goes on; return the update that it goes on from."""
        return int(self.read_until(f"{self._command}: going on from update").split()[-1])

    def read_until(self, *signs: str) -> str:
        """Read on until a line holds one of these, and return the line; '' is the end."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.output += line
            if any(sign in line for sign in signs):
                return line
        return ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """SIGKILL this process alone."""
        self._process.kill()
        self._close()

    def end(self) -> int:
        """Read to the end, and return the exit status."""
        self.read_until()
        return self._close()

    def _close(self) -> int:
        assert self._process.stdout is not None
        self._process.stdout.close()
        return self._process.wait()


def kill_a_worker(chance: random.Random) -> bool:
    """SIGKILL one of the training workers that this process has started; return if there was one.

    The others are left waiting for its gradients.
    """
    children = psutil.Process().children(recursive=True)
    workers = sorted((each for each in children if _is_worker(each)), key=lambda each: each.pid)
    if workers:
        chance.choice(workers).kill()
    return bool(workers)


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "RayTrainWorker" in " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return False
