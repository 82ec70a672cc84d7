"""Training with more than twenty kills, beside the same training undisturbed: about an hour.

    python -m tests.faults.soak quickstart --updates 8000 --every 90

On a local cluster of two nodes with a worker each, the recipe's teacher is trained twice: first
undisturbed, then with a worker, the driver or a whole node killed at random times, and what is
lost made good: another driver, another node. Prints every kill and what it cost, and in the end
one line of JSON: updates redone, seconds per kill, and how far the final weights are apart.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from cluster.local import LocalCluster, local_cluster
from pipelines.commands.options import Overrides, RecipeArgument
from tests.faults.driver import Driver, kill_a_worker
from wd.model.directory import WEIGHTS, load_weights

KINDS = ("worker", "driver", "node")
PREPARED = ("corpus", "tokenizer", "shards")


@dataclass
class Kill:
    """One kill and what it cost."""

    kind: str
    update: int
    """The last one that was done."""
    resumed: int = -1
    """The one that training went on from."""
    seconds: float = -1.0
    """From the kill until it was as far again."""


def soak(
    recipe: RecipeArgument = "quickstart",
    overrides: Overrides = None,
    updates: Annotated[int, typer.Option(help="Of the teacher.")] = 8000,
    every: Annotated[float, typer.Option(help="Seconds between kills, on average.")] = 90.0,
    seed: Annotated[int, typer.Option(help="Of the kinds and times.")] = 1,
) -> None:
    """Kill a training run again and again."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leaves no cluster behind
    with TemporaryDirectory(prefix="wd-soak-") as folder:
        print(json.dumps(_compare(recipe, overrides or (), updates, every, seed, Path(folder))))


def _compare(
    recipe: str, overrides: Sequence[str], updates: int, every: float, seed: int, folder: Path
) -> dict[str, Any]:
    """Train undisturbed and disturbed, and return what the kills cost."""
    whole, broken = folder / "whole", folder / "broken"
    settings = [
        *overrides,
        f"teacher.training.updates={updates}",
        *("teacher.training.log_every=1", "teacher.training.validate_every=50"),
        *("ray.workers=2", "ray.cpus_per_worker=0.7", "ray.map_cpus=0.5", "ray.max_failures=1000"),
    ]
    with local_cluster(cpus=1) as cluster:
        node = cluster.add_node()
        settings.append(f"ray.address={cluster.address}")
        began = time.monotonic()
        with Driver(recipe, *settings, f"root={whole}", environment=cluster.environment) as driver:
            if driver.end() != 0:
                raise SystemExit(driver.output)
        undisturbed = time.monotonic() - began
        for stage in PREPARED:
            shutil.copytree(whole / stage, broken / stage)
        began = time.monotonic()
        arguments = [recipe, *settings, f"root={broken}"]
        with ExitStack() as drivers:

            def start() -> Driver:
                return drivers.enter_context(Driver(*arguments, environment=cluster.environment))

            kills = _disturbed(cluster, node, start, every, seed)
        disturbed = time.monotonic() - began
    (one,), (other,) = (list(root.glob("teacher/*")) for root in (whole, broken))
    losses = [json.loads((each / "manifest.json").read_text()) for each in (one, other)]
    return {
        "updates": updates,
        "kills": len(kills),
        "redone": sum(kill.update - kill.resumed for kill in kills if kill.resumed >= 0),
        "seconds_per_kill": round(median([k.seconds for k in kills if k.seconds >= 0] or [0]), 1),
        "seconds": {"undisturbed": round(undisturbed), "disturbed": round(disturbed)},
        "loss": [each["metrics"]["validation"]["loss"] for each in losses],
        "largest_difference": _difference(one, other),
    }


def _disturbed(
    cluster: LocalCluster,
    node: subprocess.Popen[bytes],
    start: Callable[[], Driver],
    every: float,
    seed: int,
) -> list[Kill]:
    """Run to the end, with kills."""
    chance = random.Random(seed)
    kills: list[Kill] = []
    driver = start()
    update, done, due = 0, 0.0, 0.0
    while line := driver.read_until("teacher: update ", "teacher: going on from update "):
        number = int(line.split("update ")[1].split()[0].rstrip(":"))
        if "going on" in line:
            if kills and kills[-1].resumed < 0:
                kills[-1].resumed = number
            continue
        update = number
        if kills and (last := kills[-1]).seconds < 0:
            if last.resumed < 0:  # not felt yet, or from the very beginning
                if update < last.update:
                    last.resumed = 0
                last.update = max(last.update, update)
            if last.resumed < 0 or update < last.update:
                continue
            last.seconds = time.monotonic() - done
            print(json.dumps(asdict(last)), flush=True)
        due = due or time.monotonic() + chance.uniform(0.5, 1.5) * every  # training has begun
        if time.monotonic() < due:
            continue
        kills.append(Kill(chance.choice(KINDS), update))
        done = time.monotonic()
        due = done + chance.uniform(0.5, 1.5) * every
        if kills[-1].kind == "worker":
            kill_a_worker(chance)
        elif kills[-1].kind == "driver":
            driver.kill()
            driver = start()
        else:
            os.killpg(node.pid, signal.SIGKILL)
            node = cluster.add_node()
    if driver.end() != 0:
        raise SystemExit(driver.output)
    return kills


def _difference(one: Path, other: Path) -> float:
    first, second = (load_weights(each / WEIGHTS) for each in (one, other))
    return max(float((first[name] - second[name]).abs().max()) for name in first)


if __name__ == "__main__":
    typer.run(soak)
