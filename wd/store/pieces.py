"""Files of artifacts in a store: fetched once a node, verified, when somebody asks for them."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Self

from filelock import FileLock

from wd.errors import ArtifactError
from wd.files import sha256
from wd.manifest import MANIFEST, digests, write_manifest
from wd.places import Place, below, shown
from wd.store import objects
from wd.store.cache import entry, make_room
from wd.store.shelf import pull


@dataclass(frozen=True)
class Piece:
    """A file or a folder of an artifact in a store."""

    root: str
    artifact: str
    """Its path below the root."""
    manifest: Mapping[str, Any] = field(compare=False, repr=False)
    version: str
    """A digest of what the manifest says of its files: another one's copies are others."""
    path: str = ""
    """Below the artifact; nothing: all of it."""

    @classmethod
    def of(cls, root: str, artifact: str, manifest: Mapping[str, Any]) -> Self:
        """Return the whole artifact of a manifest."""
        files = json.dumps(manifest["files"], sort_keys=True)
        return cls(root, artifact, manifest, objects.digest(artifact + files))

    @property
    def name(self) -> str:
        """The last part of where it lies."""
        return (self.path or self.artifact).rpartition("/")[2]

    def __truediv__(self, name: str, /) -> "Piece":
        """Return a file or a folder below it."""
        path = PurePosixPath(self.path, name).as_posix()
        return replace(self, path="" if path == "." else path)

    def __fspath__(self) -> str:
        """Return its path on this node; what is not here yet is fetched.

        Raises ArtifactError if a file is not in the store, or not with its manifest's bytes.
        """
        return str(_fetched(self))

    def __str__(self) -> str:
        return below(shown(self.root), f"{self.artifact}/{self.path}".rstrip("/"))

    def files(self) -> list[str]:
        """Return the paths of its files below the artifact, in order."""
        files = self.manifest["files"]
        if self.path in files:
            return [self.path]
        return sorted(name for name in files if not self.path or name.startswith(f"{self.path}/"))


def digests_of(place: Place, pattern: str = "*") -> list[str]:
    """Return the SHA-256 of a file, or of the files right below a folder that match a pattern.

    They come in the order of the names. A piece is not fetched for that.
    """
    if isinstance(place, Piece):
        folder = place.path.count("/") + bool(place.path)
        chosen = [
            name
            for name in place.files()
            if name == place.path
            or (name.count("/") == folder and fnmatch(name.rpartition("/")[2], pattern))
        ]
        return [place.manifest["files"][name]["sha256"] for name in chosen]
    path = pull(place)
    return digests([path] if path.is_file() else sorted(path.glob(pattern)))


def _fetched(piece: Piece) -> Path:
    cached = entry("artifacts", piece.version)
    folder = cached / "files" / piece.artifact
    if _missing(piece, folder) or not (folder / MANIFEST).is_file():
        locks = cached / "locks"
        for place in (locks, folder):
            place.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / "manifest"):
            if not (folder / MANIFEST).is_file():
                write_manifest(folder, piece.manifest)
        with FileLock(locks / objects.digest(piece.path)):
            missing = _missing(piece, folder)
            make_room(sum(piece.manifest["files"][name]["bytes"] for name in missing))
            objects.each(partial(_fetch, piece, folder), missing)
    return folder / piece.path


def _missing(piece: Piece, folder: Path) -> list[str]:
    """Return the files that are not here, or not whole."""
    files = piece.manifest["files"]
    return [name for name in piece.files() if _size(folder / name) != files[name]["bytes"]]


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _fetch(piece: Piece, folder: Path, name: str) -> None:
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    # Of a name of its own: somebody may be fetching another piece with the same file.
    arriving = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        objects.download(piece.root, f"{piece.artifact}/{name}", arriving)
        if sha256(arriving) != piece.manifest["files"][name]["sha256"]:
            raise ArtifactError(
                f"{below(shown(piece.root), piece.artifact)}: damaged: {name}: its bytes have "
                "changed (SHA-256 differs). Remove it and run its stage again"
            )
        arriving.replace(target)
    finally:
        arriving.unlink(missing_ok=True)
