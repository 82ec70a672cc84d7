"""A cluster of machines that have nothing in common but the network.

Each has a home, a cache and a temporary folder of its own, and sees none of the others': they are
hidden where the system lets us mount. The head computes nothing but a job's own process.
"""

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.local import LocalCluster, local_cluster

_FOLDERS = {"HOME": "home", "XDG_CACHE_HOME": "cache", "TMPDIR": "tmp"}
_MOST = 4


@dataclass(frozen=True)
class Machines:
    """Machine 0 is the cluster's head, where jobs start; the others are started by number."""

    cluster: LocalCluster
    folder: Path
    settings: Mapping[str, str]
    """Environment variables of all of them."""

    def start(self, number: int, *hidden: Path) -> subprocess.Popen[bytes]:
        """Start a machine's node, which has one CPU, and sees nothing of `hidden` folders."""
        own, within = _separate(self.folder, number, *hidden)
        return self.cluster.add_node(
            "--num-cpus=1", environment={**self.settings, **own}, within=within
        )

    def cache(self, number: int) -> Path:
        """Return the folder where a machine keeps what it has fetched."""
        return self.folder / f"{number}" / "cache" / "weight-distillation"

    def empty(self, number: int) -> None:
        """Take from a machine all that it has fetched or made."""
        shutil.rmtree(self.cache(number))


@contextmanager
def separate_machines(settings: Mapping[str, str]) -> Iterator[Machines]:
    """Run a head without CPUs while the context lasts; machines have `settings` as variables."""
    # Short: the paths of Unix sockets in a temporary folder may have 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="wd-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        own, within = _separate(folder, 0)
        with local_cluster(cpus=0, environment={**settings, **own}, within=within) as running:
            yield Machines(running, folder, settings)


def _separate(folder: Path, number: int, *hidden: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return a machine's own variables, and a command that runs another as one of it."""
    places = [folder / f"{each}" for each in range(_MOST)]
    for place in places:
        for name in _FOLDERS.values():
            (place / name).mkdir(parents=True, exist_ok=True)
    own = {variable: str(places[number] / name) for variable, name in _FOLDERS.items()}
    others = [place for each, place in enumerate(places) if each != number]
    return own, _hiding([*others, *hidden])


def _hiding(folders: list[Path]) -> tuple[str, ...]:
    if subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        return ()
    mounts = [f"mount -t tmpfs none {shlex.quote(str(folder))}" for folder in folders]
    return ("unshare", "--mount", "sh", "-c", " && ".join([*mounts, 'exec "$@"']), "sh")
