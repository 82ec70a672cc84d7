"""One stage output: what is known of it, and its files on whichever node asks for them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow.fs as pafs

from wd.errors import ArtifactError
from wd.manifest import MANIFEST, MOST_BYTES, damaged_files, parse_manifest, read_manifest
from wd.places import Place, below, filesystem_of, shown
from wd.store import objects
from wd.store.pieces import Piece

Metrics = dict[str, Any]
_ADDRESS = re.compile(r"(.+?://.+?)/([^/]+/[^./][^/]*-[0-9a-f]{12})(?:/(.*))?")


@dataclass(frozen=True)
class Artifact:
    """A finished (or, in a dry run, a planned) stage output."""

    root: str
    name: str
    manifest: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def metrics(self) -> Metrics:
        """The figures that the stage recorded."""
        return dict(self.manifest.get("metrics", {}))

    @property
    def path(self) -> Path:
        """Local folder with the artifact's files; from a store they are fetched once, verified.

        Raises ArtifactError if the artifact does not exist, if one of its files is missing or of
        another size, or if the bytes that were fetched differ.
        """
        return Path(self.place)

    @property
    def place(self) -> Place:
        """The same for any node: a path that all nodes see, or what is fetched when asked for."""
        filesystem, base = filesystem_of(self.root)
        if not isinstance(filesystem, pafs.LocalFileSystem):
            return Piece.of(self.root, self.name, self._described())
        folder = Path(base, self.name)
        if not (folder / MANIFEST).is_file():
            raise ArtifactError(f"{folder}: no such artifact; run the stage that makes it")
        if damage := damaged_files(folder, read_manifest(folder), hashes=False):
            raise ArtifactError(
                f"{folder}: damaged: {'; '.join(damage)}. Remove the folder and run its stage again"
            )
        return folder

    def __truediv__(self, name: str, /) -> Place:
        """Return a file or a folder of it, for any node."""
        return self.place / name

    def files(self, folder: str) -> list[Place]:
        """Return the files right below one of its folders, in order, for any node."""
        place, known = self / folder, self._described()["files"]
        inside = [PurePosixPath(name) for name in sorted(known)]
        return [place / name.name for name in inside if name.parent == PurePosixPath(folder)]

    def _described(self) -> Mapping[str, Any]:
        manifest = self.manifest or manifest_of(self.root, self.name)
        if manifest is None:
            where = below(shown(self.root), self.name)
            raise ArtifactError(f"{where}: no such artifact; run the stage that makes it")
        return manifest


def place_at(address: str) -> tuple[Artifact, str]:
    """Return the artifact that an address of a store leads into, and the way from there.

    Raises ArtifactError for another kind of address.
    """
    path, mark, query = address.partition("?")
    found = _ADDRESS.fullmatch(path.rstrip("/"))
    if found is None:
        raise ArtifactError(
            f"{shown(address)}: not the address of an artifact: give ROOT/STAGE/NAME-HASH"
        )
    return Artifact(f"{found[1]}{mark}{query}", found[2]), found[3] or "."


def manifest_of(root: str, name: str) -> dict[str, Any] | None:
    """Return the manifest of `stage/label-hash` below a root, None if there is no such artifact.

    Raises ArtifactError if it is damaged.
    """
    where = below(shown(root), f"{name}/{MANIFEST}")
    content = objects.read(root, f"{name}/{MANIFEST}", MOST_BYTES)
    return None if content is None else parse_manifest(content, where)
