"""MLflow runs: addressed by their ids, so that several may be open in one process.

MLflow is imported when it is needed, not before.
"""

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wd.errors import TrackingError
from wd.installed import MLFLOW, need
from wd.logs import take_over
from wd.tracking.delivery import Entry, valid_key
from wd.tracking.outbox import Outbox
from wd.tracking.tracker import Status, Tracker, TrackerHandle

if TYPE_CHECKING:
    from mlflow import MlflowClient

_MAX_PARAM_LENGTH = 6000
"""Characters of a parameter's value that MLflow takes."""


class MLflowTracker:
    """One MLflow run, by its id. Public methods are described at `Tracker`.

    What is logged while the server is away is kept and sent later. Raises TrackingError for what
    the server refuses.
    """

    def __init__(self, outbox: Outbox, handle: TrackerHandle) -> None:
        self._outbox = outbox
        self._handle = handle
        self.run_id = handle.run_id

    def log_params(self, params: Mapping[str, Any]) -> None:  # noqa: D102
        flat = _flat(params, ".")
        values = {valid_key(key): str(value)[:_MAX_PARAM_LENGTH] for key, value in flat}
        self._send("params", values=values)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:  # noqa: D102
        now = _now()
        numbers = [
            [valid_key(key), float(value), now, step or 0]
            for key, value in _flat(metrics, "/")
            if isinstance(value, Real) and not isinstance(value, bool)
        ]
        if numbers:
            self._send("metrics", values=numbers, once=step is not None)

    def log_file(self, path: Path, folder: str = "") -> None:  # noqa: D102
        self._send("file", path=str(path), folder=folder)

    def set_tags(self, tags: Mapping[str, str]) -> None:  # noqa: D102
        self._send("tags", values={key: str(value) for key, value in tags.items()})

    @contextmanager
    def system_metrics(self) -> Iterator[None]:  # noqa: D102
        from wd.tracking.machine_load import machine_load

        with nullcontext() if self._outbox.is_away else machine_load(self, self._handle):
            yield

    @contextmanager
    def child(self, name: str, key: str) -> Iterator[Tracker]:  # noqa: D102
        handle = self._handle
        run_id = self._outbox.child(handle.experiment_id, name, key, self.run_id)
        below = TrackerHandle(handle.uri, handle.experiment_id, run_id, handle.kept)
        with ended(self._outbox, run_id):
            yield MLflowTracker(self._outbox, below)

    def end_child(self, key: str, status: Status) -> None:  # noqa: D102
        experiment = self._handle.experiment_id
        self._send("end_child", experiment=experiment, key=key, status=status)

    def handle(self) -> TrackerHandle:  # noqa: D102
        return self._handle

    def _send(self, kind: str, **data: Any) -> None:
        self._outbox.send(Entry(kind, self.run_id, data))


def connect(uri: str) -> "MlflowClient":
    """Return a quiet client for the tracking server and the model registry at `uri`.

    Raises TrackingError if MLflow is not installed.
    """
    need(MLFLOW, "set tracking.uri=none to track and register nothing", TrackingError)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # else it tries for minutes
    # Standard output is for results.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    from mlflow import MlflowClient

    take_over("mlflow")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # A server that is away is told once; each of the tries would be a line, too.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def ended(outbox: Outbox, run_id: str) -> Iterator[None]:
    """End the run with the body: FINISHED, FAILED on an error, KILLED when interrupted."""

    def end(status: Status) -> None:
        outbox.send(Entry("end", run_id, {"status": status, "time": _now()}))

    try:
        yield
    except BaseException as error:
        # Ctrl-C and SystemExit are no Exceptions; what went wrong matters more than its record.
        with suppress(Exception):
            end("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    end("FINISHED")


def _now() -> int:
    return int(time.time() * 1000)


def _flat(tree: Mapping[str, Any], separator: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, separator, f"{prefix}{key}{separator}")
        else:
            yield f"{prefix}{key}", value
