"""A cluster of real Ray nodes on this machine: a head, perhaps workers, token authentication.

    python -m cluster.local --cpus 2 --workers 1

Each node is a `ray start --block` process of its own, on ports of its own, so other clusters on
the machine are not touched. Ctrl-C and SIGTERM stop it.
"""

import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Annotated, Any, NoReturn

import typer

from cluster.runtime_env import ENVIRONMENT
from pipelines.commands.command_group import reporting
from wd.errors import UserError

HOST = "127.0.0.1"
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Command = Sequence[str]
_START_SECONDS = 180.0  # a busy machine takes a while
_STOP_SECONDS = 3.0
_PORTS = range(20_000, 32_000)
"""Above Ray's own for workers, below those that systems give to outgoing connections: what is free
here stays free until a node listens there, and a node whose port is taken dies soon after it came
up."""


@dataclass(frozen=True)
class LocalCluster:
    """A running cluster."""

    address: str
    """HOST:PORT of the head's control store, for `ray.init`."""
    dashboard: str
    """http://HOST:PORT, for jobs."""
    token_path: Path
    """File with the token that every client must show."""
    add_node: Callable[..., subprocess.Popen[bytes]]
    """Starts one more worker node, the leader of a process group of its own; it stops with the
    cluster, if not before. Takes further options of `ray start`, such as --num-gpus=1, and by name
    `environment`, variables of its own, and `within`, a command that runs it."""

    @property
    def environment(self) -> dict[str, str]:
        """What a client process needs in its environment."""
        return {
            "RAY_API_SERVER_ADDRESS": self.dashboard,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token_path),
        }


@contextmanager
def local_cluster(
    *,
    cpus: float = 2,
    workers: int = 0,
    object_store_memory: int = 200_000_000,
    environment: Mapping[str, str] = MappingProxyType({}),
    within: Command = (),
) -> Iterator[LocalCluster]:
    """Run a head and `workers` further nodes, with `cpus` CPUs each, while the context lasts.

    `object_store_memory` is in bytes, per node. The head has variables of its own in `environment`,
    and the command `within` runs it. Raises UserError if a node does not come up.
    """
    with ExitStack() as stack:
        # Short: the paths of Unix sockets below it may have 107 bytes at most.
        folder = Path(tempfile.mkdtemp(prefix="wd-ray-", dir="/tmp"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        ports = _free_ports(2)
        started = 0

        def start(
            *place: str, environment: Mapping[str, str] = MappingProxyType({}), within: Command = ()
        ) -> subprocess.Popen[bytes]:
            nonlocal started
            home = folder / str(started)  # in one folder, each node would show all nodes' logs
            log = folder / f"node-{started}.log"
            sizes = (f"--num-cpus={cpus:g}", f"--object-store-memory={object_store_memory}")
            while not (before := living_nodes(cluster)) and "--head" not in place:
                time.sleep(0.3)  # the dashboard is busy
            options = (*sizes, *place, f"--temp-dir={home}")
            node = stack.enter_context(_node(options, cluster, log, environment, within))
            _wait(cluster, before, node, log)
            started += 1
            return node

        cluster = LocalCluster(
            f"{HOST}:{ports[0]}",
            f"http://{HOST}:{ports[1]}",
            folder / "token",
            lambda *options, **own: start(f"--address={cluster.address}", *options, **own),
        )
        cluster.token_path.touch(mode=0o600)
        cluster.token_path.write_text(secrets.token_hex(32), encoding="ascii")
        start(
            *("--head", f"--port={ports[0]}", f"--dashboard-port={ports[1]}"),
            f"--dashboard-host={HOST}",
            environment=environment,
            within=within,
        )
        for _ in range(workers):
            cluster.add_node()
        yield cluster


@contextmanager
def _node(
    options: Command,
    cluster: LocalCluster,
    log: Path,
    own: Mapping[str, str],
    within: Command,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run one `ray start --block` in a process group of its own; stop the group at the end."""
    client_port, agent_port = _free_ports(2)
    command = [
        *within,
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"),
        *(f"--node-ip-address={HOST}", f"--dashboard-agent-listen-port={agent_port}"),
        *([f"--ray-client-server-port={client_port}"] if "--head" in options else []),
        *options,
    ]
    # Jobs say `python`: let it be the one that runs the cluster.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, **ENVIRONMENT, **cluster.environment, "PATH": path, **own}
    environment.pop("RAY_ADDRESS", None)
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + _STOP_SECONDS
        while _alive(process) and time.monotonic() < deadline:
            time.sleep(0.1)
    process.wait()


def _alive(process: subprocess.Popen[bytes]) -> bool:
    """Tell whether anything of the process's group is left."""
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _wait(
    cluster: LocalCluster, before: set[str], node: subprocess.Popen[bytes], log: Path
) -> None:
    """Return when the dashboard knows a living node that was not there before."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and node.poll() is None:
        if living_nodes(cluster) - before:
            return
        time.sleep(0.3)
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
    raise UserError(f"a Ray node did not come up within {_START_SECONDS:.0f} s: {' | '.join(said)}")


def living_nodes(cluster: LocalCluster) -> set[str]:
    """Return the nodes' ids; none while the dashboard does not answer."""
    request = urllib.request.Request(f"{cluster.dashboard}/api/v0/nodes?limit=1000")
    token = cluster.token_path.read_text(encoding="ascii")
    request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            answer: Any = json.load(response)
    except (OSError, ValueError):
        return set()
    nodes = answer["data"]["result"]["result"]
    return {node["node_id"] for node in nodes if node["state"] == "ALIVE"}


def _free_ports(count: int) -> list[int]:
    found = (port for port in random.sample(_PORTS, len(_PORTS)) if _is_free(port))
    return list(islice(found, count))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _run(
    cpus: Annotated[float, typer.Option(min=0, help="CPUs per node.")] = 2,
    workers: Annotated[int, typer.Option(min=0, help="Nodes beside the head.")] = 0,
    object_store_memory: Annotated[int, typer.Option(help="Bytes per node.")] = 500_000_000,
) -> None:
    """Run a local Ray cluster until Ctrl-C or SIGTERM, and say how to reach it."""
    for number in _ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:  # which `nohup` wants
            signal.signal(number, _interrupt)
    with (
        reporting("stopped"),
        local_cluster(
            cpus=cpus, workers=workers, object_store_memory=object_store_memory
        ) as cluster,
    ):
        for name, value in cluster.environment.items():
            print(f"export {name}={value}")
        print("# then, in another terminal: python -m cluster.submit run RECIPE", flush=True)
        signal.pause()


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Unwind once, so that the nodes are stopped; that takes seconds and is not cut short."""
    del number, frame
    for each in _ENDING:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    typer.run(_run)
