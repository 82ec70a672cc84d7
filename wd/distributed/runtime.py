"""Starting or joining a Ray cluster, once per process."""

import logging
import os
import re
import socket
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wd.config import RayConfig
from wd.distributed.lines import hear_workers
from wd.distributed.settings import PACKAGES, RAY_SETTINGS
from wd.errors import ClusterError, UserError
from wd.installed import RAY, need
from wd.logs import MARK

_LOG = logging.getLogger(__name__)
_ROOT = Path(__file__).resolve().parents[2]
_SETTINGS = {
    **RAY_SETTINGS,
    # Two workers' same warning is shown once, but our own records are all news.
    "RAY_DEDUP_LOGS_ALLOW_REGEX": MARK,
    "RAY_SCHEDULER_EVENTS": "0",  # who waits for room says so
    "RAY_raylet_start_wait_time_s": "120",  # a busy machine takes longer than the default
    "RAY_DATA_LOG_LEVEL": "WARNING",  # no execution plans; the progress bar stays
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # announces itself with a warning otherwise
}


def ensure_ray(config: RayConfig) -> None:
    """Join the configured cluster, else the one this job runs on, else start a local one.

    Does nothing if this process has Ray already. Raises ClusterError if the cluster that was
    named does not answer. A local cluster asks for a token (Ray keeps it in `~/.ray`), unless
    the environment's RAY_AUTH_MODE says otherwise; an existing one is joined with the token
    that the environment or `~/.ray` holds.
    """
    prepare_ray(config)

    import ray

    if ray.is_initialized():
        return
    hear_workers()
    address = _address(config)
    if address is None:
        _start_local(config)
    else:
        _join(address)


def is_own() -> bool:
    """Tell whether this process started the cluster that it is on, which ends with it."""
    import ray

    node = ray._private.worker._global_node
    return node is not None and bool(node.is_head())


def prepare_ray(config: RayConfig) -> None:
    """Set what Ray reads when it is imported; `ensure_ray` does it too, if that comes first.

    Raises ClusterError if Ray is not installed.
    """
    need(
        RAY,
        "set ray.workers=0 to do all in this process (not with a sweep or --concurrent)",
        ClusterError,
    )
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    if _address(config) is None and "ray" not in sys.modules:
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def lost(who: str, most_failures: int, error: Exception) -> UserError:
    """Return what to raise when somebody's process was lost once more than `ray.max_failures`."""
    return UserError(
        f"{who}: its process was lost {most_failures + 1} times (ray.max_failures "
        f"{most_failures}): {str(error).splitlines()[0]}"
    )


def _address(config: RayConfig) -> str | None:
    return config.address or os.environ.get("RAY_ADDRESS")


def _start_local(config: RayConfig) -> None:
    import ray

    # The workers are children of this process: its environment is theirs.
    paths = [str(_ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    if not _is_installed() and str(_ROOT) not in paths[1:]:
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    with _known_address(ray.util.get_node_ip_address()):
        try:
            started = ray.init(
                "local",
                object_store_memory=config.object_store_memory,
                include_dashboard=True,
                logging_level=logging.WARNING,
                log_to_driver=True,
            )
        except Exception as error:  # Ray has no class for it
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ClusterError(
                f"ray: no local cluster could be started: {first}; Ray tells more below "
                "/tmp/ray/session_latest/logs. Try again when the machine is less busy, or set "
                "ray.address to a cluster that runs"
            ) from error
    if started.dashboard_url:
        _LOG.info("ray: dashboard at http://%s", started.dashboard_url)


@contextmanager
def _known_address(host: str) -> Iterator[None]:
    """Let a cluster that is started here know its address, as a variable of all its processes.

    Those that ask the cluster about itself, as Ray Train's do, look for one on the machine
    otherwise; where there are several they ask none, or the wrong one.
    """
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    told = {"RAY_GCS_SERVER_PORT": str(port), "RAY_ADDRESS": f"{host}:{port}"}
    os.environ |= told
    try:
        yield
    finally:
        for name in told:
            del os.environ[name]


def _join(address: str) -> None:
    import ray

    if found := re.fullmatch(r"(?:ray://)?([\w.-]+):(\d+)", address):
        try:  # Ray itself would try for more than a minute
            socket.create_connection((found[1], int(found[2])), timeout=10).close()
        except OSError as error:
            raise ClusterError(f"ray.address {address}: nothing answers there: {error}") from None
    try:
        ray.init(address=address, logging_level=logging.WARNING, runtime_env=_runtime_env())
    except (ConnectionError, ValueError) as error:
        raise ClusterError(f"ray.address {address}: no Ray cluster answers: {error}") from None
    except ray.exceptions.AuthenticationError as error:
        first = str(error).splitlines()[0]
        raise ClusterError(
            f"ray.address {address}: the cluster wants a token: {first} "
            "Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, or put the token into ~/.ray/auth_token"
        ) from None


def _runtime_env() -> dict[str, Any] | None:
    """Ship the code to the workers, unless the job did or the machines have it installed."""
    if _is_installed() or "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        return None
    folders = [_ROOT / name for name in PACKAGES]
    return {"py_modules": [str(folder) for folder in folders if folder.is_dir()]}


def _is_installed() -> bool:
    return Path(sysconfig.get_paths()["purelib"]).resolve() == _ROOT
