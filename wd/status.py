"""What is being made below a root: told by whoever makes it, to whoever asks, on any machine.

While an artifact is made, `.work/<stage>/<hash>/status.json` says by whom, since when and how far,
written anew every few seconds by a thread: a file whose time is old tells of a lost process.
"""

import atexit
import getpass
import logging
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow.fs as pafs
from pydantic import BaseModel, ValidationError

from wd.errors import ArtifactError, DataError
from wd.files import parse_json
from wd.logs import facts_of, work_of, working_on
from wd.manifest import command_line
from wd.places import filesystem_of

BEAT_SECONDS = 5.0
SILENT_SECONDS = 60.0
"""After so long without a sign somebody is taken to be gone."""
_FOLDER, _FILE = ".work", "status.json"
_MOST_BYTES = 1_000_000
_CHECKPOINT = re.compile(r"update-(\d+)")


class Status(BaseModel):
    """Who makes an artifact, and how far that is."""

    artifact: str
    state: Literal["making", "interrupted", "failed"] = "making"
    error: str | None = None
    host: str
    process: int
    user: str | None = None
    command: str
    since: datetime
    beat: datetime
    """When the maker was last known to be alive."""
    mlflow: str | None = None
    """Where the stage's run in MLflow is shown."""
    progress: dict[str, Any] | None = None
    """done, of, unit, at (a time), and perhaps seconds_left and other figures."""
    validation: dict[str, Any] | None = None
    """The last one: update, at, and figures."""

    def is_silent(self, now: datetime) -> bool:
        """Tell whether its maker, which has not said that it ended, gives no sign of life."""
        return self.state == "making" and (now - self.beat).total_seconds() > SILENT_SECONDS


class Unfinished(BaseModel):
    """A stage's unfinished work below a root."""

    stage: str
    hash: str
    status: Status | None = None
    """None if nobody has said anything, or if what was said is damaged."""
    checkpoint: int | None = None
    """The update of the newest checkpoint."""


@contextmanager
def shown(root: str, artifact: str, place: str, mlflow: str | None) -> Iterator[None]:
    """While the context lasts, say that this process makes an artifact, and how far it is.

    `place` is where its unfinished work lies: `<stage>/<hash>`. What is logged of the artifact
    meanwhile tells how far. Neither a slow nor a broken disk or store delays or fails the making.
    """
    now = datetime.now(UTC)
    status = Status(
        artifact=artifact,
        host=socket.gethostname(),
        process=os.getpid(),
        user=_user(),
        command=work_of().get("command") or command_line(),
        since=now,
        beat=now,
        mlflow=mlflow,
    )
    stage = artifact.partition("/")[0]
    with working_on(stage=stage, artifact=artifact), _Beat(root, place, status) as beat:
        try:
            yield
        except BaseException as error:
            if isinstance(error, DataError):  # mended data is another artifact's
                beat.remove()
            else:  # Ctrl-C and SystemExit are no Exceptions
                state = "failed" if isinstance(error, Exception) else "interrupted"
                beat.end(state=state, error=str(error) or type(error).__name__)
            raise
        beat.remove()


def unfinished(root: str) -> list[Unfinished]:
    """Return all unfinished work below a root, whoever does or did it."""
    filesystem, base = filesystem_of(root)
    found = []
    for stage in _folders(filesystem, f"{base}/{_FOLDER}"):
        for place in _folders(filesystem, f"{base}/{_FOLDER}/{stage}"):
            folder = f"{base}/{_FOLDER}/{stage}/{place}"
            checkpoints = _folders(filesystem, f"{folder}/checkpoints")
            updates = [int(match[1]) for name in checkpoints if (match := _CHECKPOINT.match(name))]
            status = _read(filesystem, f"{folder}/{_FILE}")
            if status or updates:
                last = max(updates, default=None)
                found.append(Unfinished(stage=stage, hash=place, status=status, checkpoint=last))
    return found


class _Beat(logging.Handler):
    """Gathers what is logged of an artifact, and writes it every few seconds from a thread."""

    def __init__(self, root: str, place: str, status: Status) -> None:
        super().__init__(logging.DEBUG)
        self._filesystem, base = filesystem_of(root)
        self._folder = f"{base}/{_FOLDER}/{place}"
        self._status, self._change = status, threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="status", daemon=True)

    def __enter__(self) -> "_Beat":
        logging.getLogger().addHandler(self)
        atexit.register(self._exit)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        atexit.unregister(self._exit)
        logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Note the figures of a record of this artifact."""
        if work_of(record).get("artifact") == self._status.artifact:
            at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="seconds")
            known = facts_of(record)
            new = {
                key: {**known[key], "at": at} for key in ("progress", "validation") if key in known
            }
            if new:
                self._note(**new)

    def end(self, **state: Any) -> None:
        """Write a last time, and stop."""
        self._ended.set()
        self._thread.join(BEAT_SECONDS)
        self._write(**state)

    def remove(self) -> None:
        """Stop, and leave neither the file nor, if nothing else is in it, its folder."""
        self._ended.set()
        self._thread.join(BEAT_SECONDS)
        with suppress(OSError):
            self._filesystem.delete_file(f"{self._folder}/{_FILE}")
            if not self._filesystem.get_file_info(pafs.FileSelector(self._folder)):
                self._filesystem.delete_dir(self._folder)

    def _exit(self) -> None:
        """Say that this process ends in the middle: a search stops trials so."""
        self.end(state="interrupted", error="its process was ended")

    def _go_on(self) -> None:
        with suppress(OSError):
            self._filesystem.create_dir(self._folder, recursive=True)
        self._write()
        while not self._ended.wait(BEAT_SECONDS):
            self._write()

    def _write(self, **state: Any) -> None:
        status = self._note(beat=datetime.now(UTC), **state)
        with suppress(Exception):  # who looks will miss a sign of life; nobody else will mind
            _write(self._filesystem, f"{self._folder}/{_FILE}", status)

    def _note(self, **new: Any) -> Status:
        with self._change:
            self._status = self._status.model_copy(update=new)
            return self._status


def _write(filesystem: pafs.FileSystem, path: str, status: Status) -> None:
    """Write a status whole: in a folder by renaming, in a store as an object."""
    is_local = isinstance(filesystem, pafs.LocalFileSystem)
    place = f"{path}.partial" if is_local else path
    with filesystem.open_output_stream(place) as stream:
        stream.write(status.model_dump_json(exclude_none=True).encode())
    if is_local:
        filesystem.move(place, path)


def _read(filesystem: pafs.FileSystem, path: str) -> Status | None:
    """Read a status; None where there is none, or something else."""
    try:
        with filesystem.open_input_stream(path) as stream:
            return Status.model_validate(parse_json(stream.read(_MOST_BYTES)))
    except (OSError, ValidationError, ValueError):
        return None


def _folders(filesystem: pafs.FileSystem, path: str) -> list[str]:
    selector = pafs.FileSelector(path, allow_not_found=True)
    try:
        entries = filesystem.get_file_info(selector)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be listed: {error}") from None
    return sorted(one.base_name for one in entries if one.type == pafs.FileType.Directory)


def _user() -> str | None:
    with suppress(KeyError, OSError):  # a container may have no name for its user
        return getpass.getuser()
    return None
