"""What lies below a root and is needed by nothing: old, in no registered version's lineage.

Kept are all that is younger than a limit, all that registered versions are, and whatever these were
made from; of unfinished work also what somebody works at, and what it needs.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.filesize import decimal
from rich.table import Table

from wd.artifacts import NAMED, NOTE, Artifact, Store
from wd.config import NOT_TRACKED
from wd.errors import ArtifactError
from wd.manifest import MANIFEST
from wd.store import objects
from wd.store.lease import living

_DAY = 86_400.0
_SMALL = 1_000_000


@dataclass(frozen=True)
class Garbage:
    """Something below a root that nothing needs."""

    path: str
    """Below the root."""
    what: str
    """artifact, or unfinished: work that nobody went on with, an artifact that was half written."""
    bytes: int
    days: float
    """So old it is."""


@dataclass(frozen=True)
class _Unfinished:
    """Files that are no artifact, or not yet."""

    path: str
    bytes: int
    written: float
    """When last, in seconds since 1970."""
    artifact: str = ""
    """`stage/hash` of what it is to become."""
    inputs: tuple[str, ...] = ()


def garbage(root: str, *, older_than: float, registry: str | None = None) -> list[Garbage]:
    """Return what may be deleted, the largest first.

    `older_than` is in days. Asked for registered versions are `registry`, or where none is given
    the root's own and those at which its students were registered; NOT_TRACKED: none. Raises
    ArtifactError for a root that is none, and what cannot be asked raises what it raises.
    """
    store, now = Store(root), time.time()
    if store.is_local and not store.folder.is_dir():
        raise ArtifactError(f"root {root}: no such folder")
    made = {artifact.name: artifact for artifact in store.artifacts()}
    limit = now - older_than * _DAY
    works = list(_unfinished(store, made))
    live = [one for one in works if one.written > limit or _is_worked_at(store, one)]
    seeds = {name for name, artifact in made.items() if _created(artifact) > limit}
    seeds |= _registered(store, made.values(), registry)
    needed = _closure(seeds | {name for one in live for name in one.inputs}, made)
    old = [
        Garbage(name, "artifact", _bytes(artifact), (now - _created(artifact)) / _DAY)
        for name, artifact in made.items()
        if _key(name) not in needed
    ]
    left = [
        Garbage(one.path, "unfinished", one.bytes, (now - one.written) / _DAY)
        for one in works
        if one not in live
    ]
    return sorted([*old, *left], key=lambda one: -one.bytes)


def delete(root: str, items: Iterable[Garbage]) -> None:
    """Delete what `garbage` found; an artifact's manifest first, so that none is half there."""
    address = Store(root).root
    for one in items:
        if one.what == "artifact":
            objects.erase(address, f"{one.path}/{MANIFEST}")
        objects.erase(address, one.path)


def table(items: Iterable[Garbage]) -> Table:
    """Return a table with a line for each and their sum."""
    listed = list(items)
    shown = Table("what", "path", "size", "days old", show_footer=True)
    shown.columns[2].footer = decimal(sum(one.bytes for one in listed))
    for column in shown.columns[2:]:
        column.justify = "right"
    for one in listed:
        shown.add_row(one.what, one.path, decimal(one.bytes), f"{one.days:.0f}")
    return shown


def as_data(items: Iterable[Garbage]) -> list[dict[str, Any]]:
    """Return the same as plain data."""
    return [asdict(one) for one in items]


def _closure(names: Iterable[str], made: Mapping[str, Artifact]) -> set[str]:
    """Return the keys of these artifacts and of all that they were made from."""
    by_key = {_key(name): artifact for name, artifact in made.items()}
    found, waiting = set(), [_key(name) for name in names]
    while waiting:
        key = waiting.pop()
        if key not in found:
            found.add(key)
            if key in by_key:
                waiting += map(_key, by_key[key].manifest.get("inputs", {}).values())
    return found


def _key(name: str) -> str:
    """Return `stage/hash`: the label in between is only for people."""
    stage, _, rest = name.partition("/")
    return f"{stage}/{rest.rpartition('-')[2]}"


def _created(artifact: Artifact) -> float:
    try:
        begun = datetime.fromisoformat(artifact.manifest["created"]).timestamp()
        return begun + float(artifact.manifest.get("seconds", 0))  # that it took
    except (KeyError, TypeError, ValueError):
        return time.time()  # unknown: as if new


def _bytes(artifact: Artifact) -> int:
    return sum(file["bytes"] for file in artifact.manifest["files"].values())


def _registered(store: Store, made: Iterable[Artifact], registry: str | None) -> set[str]:
    """Return the artifacts that registered versions are, or were made from."""
    from wd.registry import registered_artifacts, registry_address

    if registry is not None:
        return set() if registry == NOT_TRACKED else registered_artifacts(registry)
    own = registry_address(store.root)
    told = {
        artifact.manifest.get("config", {}).get("uri")
        for artifact in made
        if artifact.name.startswith("registry/")
    }
    below = f"sqlite:///{store.folder / 'mlflow.db'}"
    addresses = {below if uri is None else uri for uri in told} | {own}
    for uri in sorted(addresses & {own, below}):
        file = Path(uri.removeprefix("sqlite:///"))
        if not uri.startswith("sqlite:///") or file.is_file():
            continue
        if None in told or not store.is_local:
            raise ArtifactError(
                f"{file} is not on this machine, so it cannot be asked what is registered: give "
                "--registry URI, or --registry none if nothing is"
            )
        addresses.remove(uri)  # nothing was ever registered there
    return {name for uri in sorted(addresses) for name in registered_artifacts(uri)}


def _unfinished(store: Store, made: Mapping[str, Artifact]) -> Iterator[_Unfinished]:
    """Yield unfinished work, and folders of artifacts without a manifest."""
    for stage in objects.names(store.root, ".work"):
        for name in objects.names(store.root, f".work/{stage}"):
            path = f".work/{stage}/{name}"
            note = objects.read(store.root, f"{path}/{NOTE}", _SMALL)
            inputs = json.loads(note)["inputs"].values() if note else ()
            yield _measured(store, path, f"{stage}/{name}", tuple(inputs))
    for stage in objects.names(store.root, ""):
        for name in objects.names(store.root, stage) if not stage.startswith(".") else ():
            path, plain = f"{stage}/{name}", name.removeprefix(".").removesuffix(".partial")
            if path not in made and NAMED.fullmatch(plain):
                yield _measured(store, path, _key(f"{stage}/{plain}"))


def _measured(store: Store, path: str, artifact: str, inputs: tuple[str, ...] = ()) -> _Unfinished:
    files = objects.found(store.root, path)
    written = max((one.written for one in files), default=0) / 1e9
    return _Unfinished(path, sum(one.bytes for one in files), written, artifact, inputs)


def _is_worked_at(store: Store, one: _Unfinished) -> bool:
    """Tell whether a process has the lock of what this is to become."""
    name = one.artifact.replace("/", "-")
    if not store.is_local:
        return name in living(store.root)
    lock = store.folder / ".locks" / name
    if not lock.is_file():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
