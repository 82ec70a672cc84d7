"""MLflow runs: addressed by their ids, so that several may be open in one process.

Each carries a key, so that a killed and repeated pipeline continues its runs instead of leaving
new ones. MLflow is imported when it is needed, not before.
"""

import hashlib
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wd.errors import TrackingError
from wd.installed import MLFLOW, need
from wd.tracking.tracker import Status, Tracker, TrackerHandle

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY_TAG = "wd.key"
PARENT_TAG = "mlflow.parentRunId"
_MAX_PARAM_LENGTH = 6000
_MAX_PARAMS, _MAX_METRICS = 100, 1000
"""MLflow's limits: characters of a parameter's value; entries of one batch."""


class MLflowTracker:
    """One MLflow run, by its id. Public methods are described at `Tracker`."""

    def __init__(self, client: "MlflowClient", handle: TrackerHandle) -> None:
        self._client = client
        self._handle = handle
        self.run_id = handle.run_id

    def log_params(self, params: Mapping[str, Any]) -> None:  # noqa: D102
        from mlflow.entities import Param

        with reached(self._client):
            known = self._client.get_run(self.run_id).data.params
            new = [
                Param(_valid(key), str(value)[:_MAX_PARAM_LENGTH])
                for key, value in _flat(params, ".")
                if _valid(key) not in known
            ]
            for start in range(0, len(new), _MAX_PARAMS):
                self._client.log_batch(self.run_id, params=new[start : start + _MAX_PARAMS])

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:  # noqa: D102
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        numbers = [
            Metric(_valid(key), float(value), now, step or 0)
            for key, value in _flat(metrics, "/")
            if isinstance(value, Real) and not isinstance(value, bool)
        ]
        with reached(self._client):
            for start in range(0, len(numbers), _MAX_METRICS):
                self._client.log_batch(self.run_id, metrics=numbers[start : start + _MAX_METRICS])

    def log_file(self, path: Path, folder: str = "") -> None:  # noqa: D102
        with reached(self._client):
            self._client.log_artifact(self.run_id, str(path), folder or None)

    def set_tags(self, tags: Mapping[str, str]) -> None:  # noqa: D102
        from mlflow.entities import RunTag

        with reached(self._client):
            self._client.log_batch(self.run_id, tags=[RunTag(k, str(v)) for k, v in tags.items()])

    @contextmanager
    def system_metrics(self) -> Iterator[None]:  # noqa: D102
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        with reached(self._client):
            monitor = SystemMetricsMonitor(
                self.run_id, resume_logging=True, tracking_uri=self._handle.uri
            )
            monitor.start()
        try:
            yield
        finally:
            monitor.finish()

    @contextmanager
    def child(self, name: str, key: str) -> Iterator[Tracker]:  # noqa: D102
        experiment = self._handle.experiment_id
        parent = {PARENT_TAG: self.run_id}
        with reached(self._client):
            run_id = resume_or_create(self._client, experiment, name, key, parent)
        with ended(self._client, run_id):
            handle = TrackerHandle(self._handle.uri, experiment, run_id)
            yield MLflowTracker(self._client, handle)

    def end_child(self, key: str, status: Status) -> None:  # noqa: D102
        experiment = self._handle.experiment_id
        run = _find(self._client, experiment, key, self.run_id)
        if run is not None:
            _end_running(self._client, experiment, run, status)

    def handle(self) -> TrackerHandle:  # noqa: D102
        return self._handle


def connect(uri: str) -> "MlflowClient":
    """Return a quiet client for the tracking server and the model registry at `uri`.

    Raises TrackingError if MLflow is not installed.
    """
    need(MLFLOW, "set tracking.uri=none to track and register nothing", TrackingError)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # else it tries for minutes
    from mlflow import MlflowClient

    logging.getLogger("alembic").setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def reached(client: "MlflowClient") -> Iterator[None]:
    """Raise TrackingError for what MLflow and its transport raise."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise TrackingError(f"tracking.uri {client.tracking_uri}: {reason}") from error


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def _find(client: "MlflowClient", experiment: str, key: str, parent: str | None) -> Any:
    rule = f"tags.`{KEY_TAG}` = '{_digest(key)}'"
    if parent:
        rule += f" AND tags.`{PARENT_TAG}` = '{parent}'"
    found = client.search_runs([experiment], rule, order_by=["start_time DESC"])
    return next((run for run in found if parent or PARENT_TAG not in run.data.tags), None)


def resume_or_create(
    client: "MlflowClient", experiment: str, name: str, key: str, tags: Mapping[str, str]
) -> str:
    """Return the id of the run with this key (below `tags`' parent), now marked as running."""
    run = _find(client, experiment, key, tags.get(PARENT_TAG))
    if run is None:
        run = client.create_run(experiment, tags={**tags, KEY_TAG: _digest(key)}, run_name=name)
    else:
        client.update_run(run.info.run_id, status="RUNNING")
    return str(run.info.run_id)


@contextmanager
def ended(client: "MlflowClient", run_id: str) -> Iterator[None]:
    """End the run with the body: FINISHED, FAILED on an error, KILLED when interrupted."""
    try:
        yield
    except BaseException as error:
        # Ctrl-C and SystemExit are no Exceptions; what went wrong matters more than its record.
        with suppress(Exception):
            client.set_terminated(run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    with reached(client):
        client.set_terminated(run_id, "FINISHED")


def _end_running(client: "MlflowClient", experiment: str, run: Any, status: Status) -> None:
    rule = f"tags.`{PARENT_TAG}` = '{run.info.run_id}'"
    for child in client.search_runs([experiment], rule):
        _end_running(client, experiment, child, status)
    if run.info.status == "RUNNING":
        client.set_terminated(run.info.run_id, status)


def _flat(tree: Mapping[str, Any], separator: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, separator, f"{prefix}{key}{separator}")
        else:
            yield f"{prefix}{key}", value


def _valid(key: str) -> str:
    """Return the key with characters that MLflow refuses replaced."""
    return re.sub(r"[^\w\-. /:]", "_", key)[:250]
