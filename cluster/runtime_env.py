"""What travels with a job: the project's packages and a few settings, far below 2 MB."""

import shutil
from importlib import import_module
from pathlib import Path

from wd.distributed.settings import PACKAGES, RAY_SETTINGS
from wd.errors import UserError

SHIPPED_LIMIT = 2_000_000
"""Bytes. More than this means that something is shipped that no job needs."""

ENVIRONMENT = {
    "COLUMNS": "120",  # width of tables in the log
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PYTHONUNBUFFERED": "1",
    **RAY_SETTINGS,
}
"""Environment variables of a job's processes."""


def pack(folder: Path, extra: tuple[Path, ...] = ()) -> int:
    """Copy the packages and `extra` files into `folder`; return the bytes.

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
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > SHIPPED_LIMIT:
        largest = max((path for path in folder.rglob("*") if path.is_file()), key=_size)
        raise UserError(
            f"the job would ship {size:,} bytes, the limit is {SHIPPED_LIMIT:,}; the largest file "
            f"is {largest.relative_to(folder)} ({_size(largest):,} bytes): keep data out of the "
            "packages"
        )
    return size


def _size(path: Path) -> int:
    return path.stat().st_size
