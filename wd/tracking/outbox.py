"""What could not be tracked is kept on disk, in order, and sent when the server is back.

Every process keeps its own file, one JSON object a line, below one folder of the root; whoever
opens or ends a pipeline's run sends all of them. Sending twice does no harm, so a process may die
between sending an entry and taking it out of its file.
"""

import json
import logging
import os
import shutil
import socket
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from wd.errors import ServerAwayError, TrackingError
from wd.files import whole
from wd.tracking.delivery import Delivery, Entry, answers
from wd.tracking.finding import PARENT_TAG, digest

if TYPE_CHECKING:
    from mlflow import MlflowClient

_LOG = logging.getLogger(__name__)
_RETRY_SECONDS = 15.0
"""So long after a failure nothing is tried; then it is asked once whether it answers."""
_away: dict[Path, float] = {}
"""The folder of what is kept for a server that is away -> when it last did not answer. Of the
process: who tracks beside a training tells who tracks the stage."""
_PENDING = "pending-"
_IDS = "ids.json"


class Outbox:
    """One process's way to a server. Its threads may share it."""

    def __init__(self, client: "MlflowClient", folder: Path) -> None:
        name = f"{time.time_ns()}-{socket.gethostname()}-{os.getpid()}"
        self._deliver, self._uri = Delivery(client), client.tracking_uri
        self._folder = folder
        self._file = folder / f"{name}.jsonl"
        self._lock = RLock()

    def send(self, entry: Entry) -> None:
        """Tell MLflow, after what is kept; keep the entry if the server is away.

        Raises TrackingError for what the server refuses.
        """
        with self._lock:
            if self._has_to_wait(entry) and not self.is_away:
                self.flush()
            if self.is_away or self._has_to_wait(entry):
                return self._keep(entry)
            try:
                self._deliver(entry, self._real(entry.run_id))
                _away.pop(self._folder, None)
            except ServerAwayError as error:
                self._keep(entry)
                self._note(error)

    def child(self, experiment: str, name: str, key: str, parent: str) -> str:
        """Return the id of a nested run: while the server is away, one that stands for it."""
        with self._lock:
            known = "" if self.is_away else self._real(parent)
            if known and not known.startswith(_PENDING):
                try:
                    return self._deliver.create(experiment, name, key, {PARENT_TAG: known})
                except ServerAwayError as error:
                    self._note(error)
            stand_in = f"{_PENDING}{digest(f'{parent} {key}')}"
            data = {"experiment": experiment, "name": name, "key": key, "parent": parent}
            self._keep(Entry("create", stand_in, data | {"time": int(time.time() * 1000)}))
            return stand_in

    def _has_to_wait(self, entry: Entry) -> bool:
        """Whether something comes before it: of this process, or the making of its run."""
        return self._file.exists() or self._real(entry.run_id).startswith(_PENDING)

    @property
    def is_away(self) -> bool:
        """Whether the server did not answer to this process, and does not again."""
        failed = _away.get(self._folder)
        if failed is not None and time.monotonic() - failed < _RETRY_SECONDS:
            return True
        return not self._answers()

    def _answers(self) -> bool:
        """Ask the server, if it was away, whether it is back."""
        if self._folder not in _away or answers(self._uri):
            return True
        _away[self._folder] = time.monotonic()
        return False

    def _note(self, error: TrackingError) -> None:
        if self._folder not in _away:
            _LOG.warning(
                "not tracked now: %s; it is kept in %s and sent when the server is back, or at the "
                "next start",
                error,
                self._folder,
            )
        _away[self._folder] = time.monotonic()

    def _keep(self, entry: Entry) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        data = entry.as_data()
        if entry.kind == "file":  # it may change, or go, before it is sent
            place = self._folder / "files" / uuid.uuid4().hex
            place.mkdir(parents=True)
            copy = shutil.copyfile(entry.data["path"], place / Path(entry.data["path"]).name)
            data["data"] = {**entry.data, "path": str(copy)}
        with FileLock(self._folder / "lock"), self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(data) + "\n")

    def flush(self) -> int:
        """Send what all processes kept, unless the server is away; return how many are left."""
        if not self._folder.is_dir():
            return 0
        with self._lock, FileLock(self._folder / "lock"):
            files = sorted(self._folder.glob("*.jsonl"))
            sent = 0
            try:
                # Once more: an entry may wait for a run that another process's file makes.
                for path in (*files, *files) if self._answers() else ():
                    sent += self._flush_file(path)
            except ServerAwayError as error:
                self._note(error)
            left = sum(len(_entries(path)) for path in files)
            if sent:
                _LOG.info("tracked: %d kept entries are sent, %d left", sent, left)
            if not left:
                _away.pop(self._folder, None)
            return left

    def _flush_file(self, path: Path) -> int:
        """Send a file's entries in order and take out what is sent."""
        entries = _entries(path)
        done = 0
        try:
            for entry in entries:
                if entry.kind != "create" and self._real(entry.run_id).startswith(_PENDING):
                    break
                if not self._send_kept(entry):
                    break
                done += 1
        finally:
            if done and done == len(entries):
                path.unlink()
            elif done:
                with whole(path) as partial:
                    text = "".join(json.dumps(each.as_data()) + "\n" for each in entries[done:])
                    partial.write_text(text, encoding="utf-8")
        return done

    def _send_kept(self, entry: Entry) -> bool:
        """Send one; False if it has to wait. What the server refuses is told and given up."""
        try:
            if entry.kind == "create":
                return self._create(entry.run_id, entry.data)
            self._deliver(entry, self._real(entry.run_id))
        except ServerAwayError:
            raise
        except TrackingError as error:
            _LOG.warning("not tracked: %s (%s)", error, entry.kind)
        if entry.kind == "file":
            shutil.rmtree(Path(entry.data["path"]).parent, ignore_errors=True)
        return True

    def _create(self, stand_in: str, data: Mapping[str, Any]) -> bool:
        parent = self._real(data["parent"])
        if parent.startswith(_PENDING):
            return False
        made = self._deliver.create(
            data["experiment"], data["name"], data["key"], {PARENT_TAG: parent}, data["time"]
        )
        ids = self._ids() | {stand_in: made}
        with whole(self._folder / _IDS) as partial:
            partial.write_text(json.dumps(ids), encoding="utf-8")
        return True

    def _real(self, run_id: str) -> str:
        """Return the id of the run that one stands for, as far as it is known."""
        return self._ids().get(run_id, run_id) if run_id.startswith(_PENDING) else run_id

    def _ids(self) -> dict[str, str]:
        try:
            found: dict[str, str] = json.loads((self._folder / _IDS).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return found


def _entries(path: Path) -> list[Entry]:
    """Read a file; a last line that its process died over is none."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    except FileNotFoundError:
        return []
    return [entry for line in lines if (entry := _entry(line, path))]


def _entry(line: str, path: Path) -> Entry | None:
    try:
        return Entry(**json.loads(line))
    except (ValueError, TypeError):  # a damaged disk; the other entries are whole
        _LOG.warning("not tracked: %s: a line that is no entry", path)
        return None
