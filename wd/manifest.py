"""A folder's manifest: what it holds, file by file, and what it was made with."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from subprocess import DEVNULL, CalledProcessError, check_output
from typing import Any

from wd.errors import ArtifactError
from wd.files import sha256

MANIFEST = "manifest.json"
_DEEPEST = 3
"""A file of an artifact lies at most so many folders deep, its own included."""
_REPORTED_PACKAGES = ("weight-distillation", "torch", "ray", "mlflow", "ctranslate2", "sacrebleu")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a folder's manifest; raises ArtifactError where there is none or it is damaged."""
    try:
        return parse_manifest((folder / MANIFEST).read_bytes(), str(folder / MANIFEST))
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(f"{folder}: not an artifact (it has no {MANIFEST})") from None


def parse_manifest(manifest: bytes, path: str) -> dict[str, Any]:
    """Return a manifest's tree; raises ArtifactError, which names `path`, if it is damaged."""
    try:
        tree = json.loads(manifest)
    except ValueError as error:
        tree = error
    if not isinstance(tree, dict) or not isinstance(tree.get("files"), dict):
        why = f" ({tree})" if isinstance(tree, ValueError) else ""
        raise ArtifactError(
            f"{path}: damaged: not a manifest{why}; remove its folder and run its stage again"
        )
    return tree


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Return size in bytes and SHA-256 of every file below `folder` except its manifest."""
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST
    }


def digests(paths: Iterable[Path]) -> list[str]:
    """Return the SHA-256 of each file, from the manifest of the artifact that it lies in.

    A file that no manifest knows, or knows with another size, is read.
    """
    read_once = cache(_described)
    return [_recorded_digest(path, read_once) or sha256(path) for path in paths]


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


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write a folder's manifest, down to the disk."""
    with (folder / MANIFEST).open("w", encoding="utf-8") as stream:
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
