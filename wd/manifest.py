"""A folder's manifest: what it holds, file by file, and what it was made with."""

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath
from subprocess import DEVNULL, CalledProcessError, check_output
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from wd.errors import ArtifactError, without_credentials
from wd.files import known_sha256, parse_json, read_small, sha256, whole
from wd.identity import Identity

MANIFEST = "manifest.json"
MOST_BYTES = 64_000_000
"""A manifest has at most so many bytes: some 400,000 files."""
_DEEPEST = 3
"""A file of an artifact lies at most so many folders deep, its own included."""
_REPORTED_PACKAGES = ("weight-distillation", "torch", "ray", "mlflow", "ctranslate2", "sacrebleu")


def _inside(name: str) -> str:
    """Return the name of something below a folder; raises ValueError if it leads elsewhere."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise ValueError("it leads out of the folder")
    if max(len(part.encode("utf-8", "surrogatepass")) for part in path.parts) > 255:
        raise ValueError("no file has so long a name")
    return name


_Name = Annotated[str, AfterValidator(_inside), Field(max_length=4096)]


class _File(BaseModel):
    bytes: Annotated[int, Field(strict=True, ge=0)]
    sha256: str


class _Manifest(BaseModel):
    """What is read of every manifest; the rest is only shown."""

    files: dict[_Name, _File]
    inputs: dict[str, _Name] = {}
    metrics: dict[str, Any] = {}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a folder's manifest; raises ArtifactError where there is none or it is damaged."""
    path = folder / MANIFEST
    try:
        return parse_manifest(read_small(path, MOST_BYTES), str(path))
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(f"{folder}: not an artifact (it has no {MANIFEST})") from None
    except ValueError as error:
        raise _damaged(str(path), str(error)) from None


def parse_manifest(manifest: bytes, path: str) -> dict[str, Any]:
    """Return a manifest's tree; raises ArtifactError, which names `path`, if it is damaged.

    The files that it names lie in its folder; its inputs lie below its root.
    """
    try:
        tree = parse_json(manifest)
        _Manifest.model_validate(tree)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part)[:100] for part in first["loc"])
        raise _damaged(path, f"{place}: {first['msg']}" if place else first["msg"]) from None
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    return dict(tree)


def _damaged(path: str, why: str) -> ArtifactError:
    return ArtifactError(
        f"{path}: damaged: not a manifest ({why}); remove its folder and run its stage again"
    )


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Return size in bytes and SHA-256 of every file below `folder` except its manifest."""
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST
    }


def digests(paths: Iterable[Path]) -> list[str]:
    """Return the SHA-256 of each file, from the manifest of the artifact that it lies in.

    A file that no manifest knows, or knows with another size, is read, but once a process.
    """
    read_once = cache(_described)
    return [_recorded_digest(path, read_once) or known_sha256(path) for path in paths]


def damaged_files(folder: Path, manifest: Mapping[str, Any], *, hashes: bool = True) -> list[str]:
    """Return a line for each file that is missing or whose bytes are not the manifest's.

    Without `hashes` files are not read: only their sizes count.
    """
    damage = []
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            damage.append(f"{name}: missing")
        elif path.stat().st_size != expected["bytes"]:
            damage.append(f"{name}: {path.stat().st_size} bytes instead of {expected['bytes']}")
        elif hashes and sha256(path) != expected["sha256"]:
            damage.append(f"{name}: its bytes have changed (SHA-256 differs)")
    return damage


def filled_manifest(
    identity: Identity,
    *,
    metrics: Mapping[str, Any],
    files: Mapping[str, Mapping[str, Any]],
    started: datetime,
) -> dict[str, Any]:
    """Return the manifest of what has just been made, from `started` until now."""
    return {
        **identity.described,
        "hash": identity.hash,
        "metrics": metrics,
        "files": files,
        "created": started.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - started).total_seconds(), 3),
        "commit": commit(),
        "packages": packages(),
    }


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write a folder's manifest, down to the disk."""
    with whole(folder / MANIFEST) as partial, partial.open("w", encoding="utf-8") as stream:
        json.dump(manifest, stream, indent=2, ensure_ascii=False)
        stream.flush()
        os.fsync(stream.fileno())


@cache
def commit() -> str | None:
    """Return the git commit of this code, if it is in a repository."""
    here = Path(__file__).parent
    try:
        return check_output(
            ["git", "rev-parse", "HEAD"], cwd=here, stderr=DEVNULL, text=True
        ).strip()
    except (OSError, CalledProcessError):
        return None


def command_line() -> str:
    """Return how this process was started, as its user would write it; without credentials."""
    program = Path(sys.argv[0]).name
    program = "python -m pipelines" if program == "__main__.py" else program
    command = f"{program} {shlex.join(sys.argv[1:])}".rstrip()
    return without_credentials(command)


@cache
def packages() -> dict[str, str]:
    """Return the versions of what results depend on."""
    versions = {}
    for name in _REPORTED_PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _recorded_digest(
    path: Path, described: Callable[[Path], Mapping[str, Mapping[str, Any]]]
) -> str | None:
    for folder in list(path.parents)[:_DEEPEST]:
        entry = described(folder).get(path.relative_to(folder).as_posix())
        if entry is not None and entry["bytes"] == path.stat().st_size:
            return str(entry["sha256"])
    return None


def _described(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what a folder's manifest says of its files; nothing, if it has none that is whole."""
    try:
        return dict(read_manifest(folder)["files"])
    except ArtifactError:
        return {}
