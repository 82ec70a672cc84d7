"""Content-addressed stage outputs: `<root>/<stage>/<label>-<hash>/`, the manifest written last.

The hash covers the stage's name and version, its own config and its inputs' hashes, so the same
work is never done twice and a promoted model can be traced back to its corpus. Of a config object
the hash sees what differs from its defaults, so that an option added later does not undo finished
work; whoever changes a default raises the versions of the stages that read it.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
from filelock import FileLock
from pydantic import BaseModel

from wd.errors import ArtifactError, DataError
from wd.files import whole
from wd.manifest import (
    MANIFEST,
    MOST_BYTES,
    commit,
    damaged_files,
    describe_files,
    packages,
    parse_manifest,
    read_manifest,
    write_manifest,
)
from wd.places import cache_folder, filesystem_of, local_folder

Metrics = dict[str, Any]


@dataclass(frozen=True)
class Identity:
    """What a stage's output is a function of. `hash` is known before the work is done."""

    stage: str
    label: str
    version: int
    config: Mapping[str, Any]
    """Plain data, or pydantic models as its values."""
    inputs: Mapping[str, str]
    """Role -> `stage/label-hash` of the artifact that plays it."""

    @property
    def hash(self) -> str:
        """First 12 hex digits of SHA-256 over everything but the label."""
        covered = {"stage": self.stage, "version": self.version, "config": self._dump(short=True)}
        covered["inputs"] = {role: name.rsplit("-", 1)[-1] for role, name in self.inputs.items()}
        return hashlib.sha256(json.dumps(covered, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """`stage/label-hash`: the artifact's path below the root."""
        return f"{self.stage}/{self.label}-{self.hash}"

    @property
    def described(self) -> dict[str, Any]:
        """All of it as plain data, defaults included: what a manifest says."""
        return {**asdict(self), "config": self._dump(short=False)}

    def _dump(self, short: bool) -> dict[str, Any]:
        return {
            key: value.model_dump(mode="json", exclude_defaults=short)
            if isinstance(value, BaseModel)
            else value
            for key, value in self.config.items()
        }


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
        """Local folder with the artifact's files; a remote artifact is fetched once, verified.

        Raises ArtifactError if the artifact does not exist, if one of its files is missing or of
        another size, or if the bytes that were fetched differ.
        """
        filesystem, base = filesystem_of(self.root)
        if isinstance(filesystem, pafs.LocalFileSystem):
            folder = Path(base, self.name)
            if not (folder / MANIFEST).is_file():
                raise ArtifactError(f"{folder}: no such artifact; run the stage that makes it")
            if damage := damaged_files(folder, read_manifest(folder), hashes=False):
                raise ArtifactError(
                    f"{folder}: damaged: {'; '.join(damage)}. Remove the folder and run its stage "
                    "again"
                )
            return folder
        return _fetch(filesystem, f"{base}/{self.name}", self.name)


class Store:
    """The artifacts below one root: a local or shared folder, or an object store's address."""

    def __init__(self, root: str) -> None:
        self.root = root if "://" in root else str(local_folder(root))
        self._filesystem, self._base = filesystem_of(self.root)

    @property
    def _is_local(self) -> bool:
        return isinstance(self._filesystem, pafs.LocalFileSystem)

    @property
    def folder(self) -> Path:
        """A local folder for state beside the artifacts: unfinished work, the MLflow database."""
        if self._is_local:
            return Path(self._base)
        digest = hashlib.sha256(self.root.encode()).hexdigest()[:12]
        return cache_folder() / "roots" / digest

    def find(self, identity: Identity) -> Artifact | None:
        """Return the finished artifact of this identity, whatever its label, or None.

        Raises ArtifactError if its manifest is damaged.
        """
        parent = f"{self._base}/{identity.stage}"
        selector = pafs.FileSelector(parent, allow_not_found=True)
        names = sorted(entry.base_name for entry in self._filesystem.get_file_info(selector))
        for name in names:
            if name.endswith(f"-{identity.hash}") and not name.startswith("."):
                path = f"{parent}/{name}/{MANIFEST}"
                if self._filesystem.get_file_info(path).type == pafs.FileType.File:
                    with self._filesystem.open_input_stream(path) as stream:
                        manifest = parse_manifest(stream.read(MOST_BYTES), path)
                    return Artifact(self.root, f"{identity.stage}/{name}", manifest)
        return None

    def planned(self, identity: Identity) -> Artifact:
        """Return the handle of an artifact that may not exist yet."""
        return self.find(identity) or Artifact(self.root, identity.name)

    @contextmanager
    def lock(self, identity: Identity) -> Iterator[None]:
        """Keep a second process on this machine from doing the same work; freed on any death."""
        path = self.folder / ".locks" / f"{identity.stage}-{identity.hash}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError:  # of a file system that makes no folders
            raise ArtifactError(f"root {self.root}: no folder can be made there") from None
        with FileLock(path):
            yield

    def work_folder(self, identity: Identity) -> Path:
        """Local folder for a stage's unfinished state (checkpoints); it outlives a killed run."""
        folder = self.folder / ".work" / identity.stage / identity.hash
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def publish(self, identity: Identity, build: Callable[[Path], Metrics]) -> Artifact:
        """Run `build` in a hidden folder, describe its files, and make it visible at once.

        `build` fills the folder that it is given and returns the metrics. Whatever it leaves
        behind when it dies is never read. The stage's work folder is dropped on success, and where
        the data is at fault: mended data is another stage's.
        """
        partial = self.folder / identity.stage / f".{identity.label}-{identity.hash}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        started = datetime.now(UTC)
        try:
            metrics = build(partial)
        except BaseException as error:
            shutil.rmtree(partial, ignore_errors=True)
            if isinstance(error, DataError):
                shutil.rmtree(self.work_folder(identity), ignore_errors=True)
            raise
        manifest = {
            **identity.described,
            "hash": identity.hash,
            "metrics": metrics,
            "files": describe_files(partial),
            "created": started.isoformat(timespec="seconds"),
            "seconds": round((datetime.now(UTC) - started).total_seconds(), 3),
            "commit": commit(),
            "packages": packages(),
        }
        write_manifest(partial, manifest)
        if self._is_local:
            final = Path(self._base, identity.name)
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
        else:
            self._upload(partial, f"{self._base}/{identity.name}")
        shutil.rmtree(self.work_folder(identity), ignore_errors=True)
        return Artifact(self.root, identity.name, manifest)

    def _upload(self, folder: Path, destination: str) -> None:
        """Copy everything, the manifest last."""
        files = [path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST]
        for path in [*sorted(files), folder / MANIFEST]:
            target = f"{destination}/{path.relative_to(folder)}"
            self._filesystem.create_dir(target.rsplit("/", 1)[0], recursive=True)
            pafs.copy_files(
                str(path),
                target,
                source_filesystem=pafs.LocalFileSystem(),
                destination_filesystem=self._filesystem,
            )
        shutil.rmtree(folder)


def _fetch(filesystem: pafs.FileSystem, source: str, name: str) -> Path:
    target = cache_folder() / "artifacts" / name
    with FileLock(cache_folder() / f"{name.replace('/', '-')}.lock"):
        if (target / MANIFEST).is_file():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole(target) as partial:
            try:
                pafs.copy_files(source, str(partial), source_filesystem=filesystem)
            except OSError as error:
                raise ArtifactError(f"{source}: cannot be fetched: {error}") from None
            if damage := damaged_files(partial, read_manifest(partial)):
                raise ArtifactError(f"{source}: damaged: {'; '.join(damage)}")
    return target
