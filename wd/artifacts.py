"""Content-addressed stage outputs: `<root>/<stage>/<label>-<hash>/`, the manifest written last."""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow.fs as pafs

from wd.artifact import Artifact, Metrics, manifest_of, place_at
from wd.errors import ArtifactError, DataError
from wd.identity import Identity
from wd.manifest import MANIFEST, describe_files, filled_manifest, write_manifest
from wd.places import Place, cache_folder, filesystem_of, local_folder
from wd.store import objects
from wd.store.lease import Lease, leased
from wd.store.locked import locked
from wd.store.shelf import Shelf, described, here, push, remove

__all__ = ["NAMED", "NOTE", "Artifact", "Identity", "Metrics", "Store", "place_at"]

NAMED = re.compile(r"[^.].*-[0-9a-f]{12}")
"""What the folder of an artifact is called."""
NOTE = "artifact.json"
"""File of a work folder: the artifact that the work is for, and its inputs."""


class Store:
    """The artifacts below one root: a local or shared folder, or an object store's address."""

    def __init__(self, root: str) -> None:
        self.root = root if "://" in root else str(local_folder(root))
        self._filesystem, self._base = filesystem_of(self.root)
        self._leases: dict[str, Lease] = {}

    @property
    def is_local(self) -> bool:
        """Whether the root is a folder."""
        return isinstance(self._filesystem, pafs.LocalFileSystem)

    @property
    def folder(self) -> Path:
        """A folder of this node for state beside the artifacts: the MLflow database."""
        if self.is_local:
            return Path(self._base)
        return cache_folder() / "roots" / objects.digest(self.root)

    def manifest(self, name: str) -> dict[str, Any] | None:
        """Return the manifest of `stage/label-hash`, None if there is no such artifact.

        Raises ArtifactError if it is damaged.
        """
        return manifest_of(self.root, name)

    def find(self, identity: Identity) -> Artifact | None:
        """Return the finished artifact of this identity, whatever its label, or None.

        Raises ArtifactError if its manifest is damaged.
        """
        for name in objects.names(self.root, identity.stage):
            if name.endswith(f"-{identity.hash}") and not name.startswith("."):
                found = f"{identity.stage}/{name}"
                if (manifest := self.manifest(found)) is not None:
                    return Artifact(self.root, found, manifest)
        return None

    def artifacts(self) -> list[Artifact]:
        """Return all finished artifacts, in the order of their names.

        Raises ArtifactError if a manifest is damaged.
        """
        stages = [stage for stage in objects.names(self.root, "") if not stage.startswith(".")]
        known = [
            f"{stage}/{name}"
            for stage in stages
            for name in objects.names(self.root, stage)
            if NAMED.fullmatch(name)
        ]
        read = zip(known, objects.each(self.manifest, known), strict=True)
        return [Artifact(self.root, name, manifest) for name, manifest in read if manifest]

    def damage(self, name: str, manifest: Mapping[str, Any]) -> list[str]:
        """Return a line for each file of an artifact that is missing or of another size."""
        found = objects.found(self.root, name)
        sizes = {one.path.removeprefix(f"{name}/"): one.bytes for one in found}
        damage = []
        for path, told in manifest["files"].items():
            if path not in sizes:
                damage.append(f"{path}: missing")
            elif sizes[path] != told["bytes"]:
                damage.append(f"{path}: {sizes[path]} bytes instead of {told['bytes']}")
        return damage

    def planned(self, identity: Identity) -> Artifact:
        """Return the handle of an artifact that may not exist yet."""
        return self.find(identity) or Artifact(self.root, identity.name)

    @contextmanager
    def lock(self, identity: Identity) -> Iterator[None]:
        """Keep a second process from doing the same work; whoever dies is no longer in the way.

        In a folder a file's lock, for the processes of one machine; in a store a lease, for all.
        """
        name = f"{identity.stage}-{identity.hash}"
        if not self.is_local:
            with leased(self.root, name) as lease:
                self._leases[name] = lease
                try:
                    yield
                finally:
                    del self._leases[name]
            return
        path = self.folder / ".locks" / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError:  # of a file system that makes no folders
            raise ArtifactError(f"root {self.root}: no folder can be made there") from None
        with locked(path):
            yield

    def work_folder(self, identity: Identity) -> Place:
        """Return where a stage's unfinished state is (checkpoints); it outlives a killed run."""
        return self.unfinished(identity.stage, identity.hash)

    def unfinished(self, what: str, digest: str) -> Place:
        """Return where the unfinished state of something is that is known by a digest."""
        if not self.is_local:
            return Shelf(self.root, f".work/{what}/{digest}")
        folder = self.folder / ".work" / what / digest
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def publish(
        self,
        identity: Identity,
        build: Callable[[Path], Metrics],
        taken: Mapping[str, Shelf] = MappingProxyType({}),
    ) -> Artifact:
        """Run `build` in a hidden folder, describe its files, and make it visible at once.

        `build` fills the folder that it is given and returns the metrics. `taken` are files that
        the store has already, by their names in the artifact: those of `build`'s that `map_parts`
        made. Whatever it leaves behind when it dies is never read. The stage's work folder is
        dropped on success, and where the data is at fault: mended data is another stage's.
        """
        partial = self.folder / identity.stage / f".{identity.label}-{identity.hash}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        self._note(identity)
        before = None if self.is_local else self.find(identity)
        started = datetime.now(UTC)
        try:
            metrics = build(partial)
        except BaseException as error:
            shutil.rmtree(partial, ignore_errors=True)
            if isinstance(error, DataError):
                remove(self.work_folder(identity))
            raise
        files = describe_files(partial) | described(taken)
        manifest = filled_manifest(identity, metrics=metrics, files=files, started=started)
        write_manifest(partial, manifest)
        if self.is_local:
            final = Path(self._base, identity.name)
            (final / MANIFEST).unlink(missing_ok=True)  # first, so that none is half there
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
        else:
            lease = self._leases.get(f"{identity.stage}-{identity.hash}")
            if lease and lease.ensure() and (other := self._newer(identity, before)):
                shutil.rmtree(partial)
                return other  # what has been made meanwhile may be in use
            self._upload(partial, identity.name, taken)
        remove(self.work_folder(identity))
        return Artifact(self.root, identity.name, manifest)

    def _newer(self, identity: Identity, before: Artifact | None) -> Artifact | None:
        found = self.find(identity)
        return None if found and before and found.manifest == before.manifest else found

    def _note(self, identity: Identity) -> None:
        """Leave beside unfinished work what it is for, and what it needs: that is no garbage."""
        note = self.work_folder(identity) / NOTE
        told = {"name": identity.name, "inputs": dict(identity.inputs)}
        here(note).write_text(json.dumps(told), encoding="utf-8")
        push(note)

    def _upload(self, folder: Path, name: str, taken: Mapping[str, Shelf]) -> None:
        """Copy everything, the manifest last; what was there before goes, its manifest first."""
        objects.erase(self.root, f"{name}/{MANIFEST}")
        objects.erase(self.root, name)
        files = [path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST]

        def send(path: Path) -> None:
            objects.upload(self.root, path, f"{name}/{path.relative_to(folder).as_posix()}")

        def take(target: str) -> None:
            objects.duplicate(self.root, taken[target].path, f"{name}/{target}")

        objects.each(send, sorted(files))
        objects.each(take, taken)
        send(folder / MANIFEST)
        shutil.rmtree(folder)
