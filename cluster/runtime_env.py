"""What travels with a job: the project's packages and a few settings, far below 2 MB."""

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from wd.distributed.settings import PACKAGES, RAY_SETTINGS
from wd.errors import UserError, without_credentials

SHIPPED_LIMIT = 2_000_000
"""Bytes. More than this means that something is shipped that no job needs."""

ENVIRONMENT = {
    "COLUMNS": "120",  # width of tables in the log
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PYTHONUNBUFFERED": "1",
    # `ray job stop` kills after three seconds otherwise; saving takes longer.
    "RAY_JOB_STOP_WAIT_TIME_S": "300",
    **RAY_SETTINGS,
}
"""Environment variables of a job's processes."""

FORWARDED = (
    "MLFLOW_TRACKING_URI",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
)
"""Variables that a job has as its sender has them: addresses, no secrets."""

SECRET = re.compile(r"MLFLOW_TRACKING_(USERNAME|PASSWORD|TOKEN)|AWS_(ACCESS|SECRET|SESSION)\w*")
"""Variables that are never sent: whoever may ask the cluster for its jobs is told their values."""

TOLD_TO_ALL = (
    "whoever may ask the cluster for its jobs would be told these credentials; give them to its "
    "nodes (docs/operations.md, Secrets)"
)


@dataclass(frozen=True)
class Shipment:
    """What was put together for a job."""

    files: int
    bytes: int

    def __str__(self) -> str:
        return f"{self.files} files, {self.bytes:,} bytes"


def pack(folder: Path, extra: tuple[Path, ...] = ()) -> Shipment:
    """Copy the packages and `extra` files into `folder`.

    The packages are taken from where they are imported, so an installed project ships as well as
    a checkout. Raises UserError if the result exceeds the limit.
    """
    for package in PACKAGES:
        source = Path(str(import_module(package).__file__)).parent
        shutil.copytree(
            source, folder / package, ignore=shutil.ignore_patterns("__pycache__", ".*")
        )
    for path in extra:
        shutil.copyfile(path, folder / path.name)
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    shipment = Shipment(len(sizes), sum(sizes.values()))
    if shipment.bytes > SHIPPED_LIMIT:
        largest = max(sizes, key=sizes.__getitem__)
        raise UserError(
            f"the job would ship {shipment}, the limit is {SHIPPED_LIMIT:,}; the largest file "
            f"is {largest.relative_to(folder)} ({sizes[largest]:,} bytes): keep data out of the "
            "packages"
        )
    return shipment


def environment(asked: Sequence[str] = ()) -> dict[str, str]:
    """Return a job's variables: the fixed ones, the forwarded ones, and those that are asked for.

    Raises UserError for one that is not set here, or that would give a secret away.
    """
    for name in asked:
        if SECRET.fullmatch(name):
            raise UserError(f"--env {name}: {TOLD_TO_ALL}")
        if name not in os.environ:
            raise UserError(f"--env {name}: it is not set here")
    sent = {name: os.environ[name] for name in (*FORWARDED, *asked) if os.environ.get(name)}
    for name, value in sent.items():
        if without_credentials(value) != value:
            raise UserError(f"{name} {value}: {TOLD_TO_ALL}")
    return ENVIRONMENT | sent


def withheld() -> list[str]:
    """Return the names of secrets that are set here and that a job does not get from here."""
    return sorted(name for name in os.environ if SECRET.fullmatch(name))
