"""Tracking: MLflow runs for a pipeline, its stages and its trials, or nothing at all.

Runs are addressed by their ids, so that several may be open in one process, and carry a key, so
that a killed and repeated pipeline continues its runs instead of leaving new ones. MLflow is
imported when a tracker is opened, not before.
"""

import hashlib
import json
import logging
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from filelock import FileLock

from wd.config import Recipe
from wd.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient

Status = Literal["FINISHED", "FAILED", "KILLED"]
KEY_TAG = "wd.key"
PARENT_TAG = "mlflow.parentRunId"
_REACH_SECONDS = 8
_MAX_PARAM_LENGTH = 6000
_MAX_PARAMS, _MAX_METRICS = 100, 1000
"""MLflow's limits: characters of a parameter's value; entries of one batch."""


class TrackingError(UserError):
    """A tracking server or database that cannot be used."""


@dataclass(frozen=True)
class TrackerHandle:
    """What another process needs to write into the same run."""

    uri: str
    experiment_id: str
    run_id: str


class Tracker(Protocol):
    """One run's place for parameters, metrics, files and tags."""

    @property
    def run_id(self) -> str | None:
        """The MLflow run's id; None where nothing is tracked."""

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record settings under dotted keys; what is recorded already stays as it is."""

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Record the numbers among `metrics`, nested ones as `outer/inner`; ignore the rest."""

    def log_file(self, path: Path, folder: str = "") -> None:
        """Store a copy of a file below the run's `folder`."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or replace tags."""

    def child(self, name: str, key: str) -> "AbstractContextManager[Tracker]":
        """Open a nested run; the same key below the same run always means the same run."""

    def end_child(self, key: str, status: Status) -> None:
        """End a nested run whose process was stopped before it could; else do nothing."""

    def handle(self) -> TrackerHandle | None:
        """Return what `attach` needs in another process."""


class NullTracker:
    """Tracks nothing."""

    run_id = None

    def log_params(self, params: Mapping[str, Any]) -> None: ...  # noqa: D102
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None: ...  # noqa: D102
    def log_file(self, path: Path, folder: str = "") -> None: ...  # noqa: D102
    def set_tags(self, tags: Mapping[str, str]) -> None: ...  # noqa: D102
    def end_child(self, key: str, status: Status) -> None: ...  # noqa: D102

    def child(self, name: str, key: str) -> AbstractContextManager[Tracker]:  # noqa: D102
        return nullcontext(self)

    def handle(self) -> None:  # noqa: D102
        return None


class MLflowTracker:
    """One MLflow run, by its id. Public methods are described at `Tracker`."""

    def __init__(self, client: "MlflowClient", handle: TrackerHandle) -> None:
        self._client = client
        self._handle = handle
        self.run_id = handle.run_id

    def log_params(self, params: Mapping[str, Any]) -> None:  # noqa: D102
        from mlflow.entities import Param

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
        for start in range(0, len(numbers), _MAX_METRICS):
            self._client.log_batch(self.run_id, metrics=numbers[start : start + _MAX_METRICS])

    def log_file(self, path: Path, folder: str = "") -> None:  # noqa: D102
        self._client.log_artifact(self.run_id, str(path), folder or None)

    def set_tags(self, tags: Mapping[str, str]) -> None:  # noqa: D102
        from mlflow.entities import RunTag

        self._client.log_batch(self.run_id, tags=[RunTag(k, str(v)) for k, v in tags.items()])

    @contextmanager
    def child(self, name: str, key: str) -> Iterator[Tracker]:  # noqa: D102
        experiment = self._handle.experiment_id
        run_id = _resume_or_create(self._client, experiment, name, key, {PARENT_TAG: self.run_id})
        with _ended(self._client, run_id):
            handle = TrackerHandle(self._handle.uri, experiment, run_id)
            yield MLflowTracker(self._client, handle)

    def end_child(self, key: str, status: Status) -> None:  # noqa: D102
        run = _find(self._client, self._handle.experiment_id, key, self.run_id)
        if run is not None and run.info.status == "RUNNING":
            self._client.set_terminated(run.info.run_id, status)

    def handle(self) -> TrackerHandle:  # noqa: D102
        return self._handle


def attach(handle: TrackerHandle | None) -> Tracker:
    """Return a tracker that writes into a run which another process has opened."""
    if handle is None:
        return NullTracker()
    database = handle.uri.removeprefix("sqlite:///")
    if database != handle.uri and not Path(database).is_file():
        logging.getLogger(__name__).warning(
            "%s is not on this machine: nothing is tracked here; set tracking.uri to a server",
            database,
        )
        return NullTracker()
    return MLflowTracker(_client(handle.uri), handle)


@contextmanager
def open_tracker(recipe: Recipe, folder: Path) -> Iterator[Tracker]:
    """Open the parent run of a pipeline: a new one, or the one this recipe had before.

    Without `tracking.uri` it is in `<folder>/mlflow.db`, its files in `<folder>/mlflow-artifacts`.
    Raises TrackingError if the server cannot be reached or the database cannot be used.
    """
    told = recipe.model_dump(mode="json", exclude={"ray", "root", "tracking"})
    key = json.dumps(told, sort_keys=True)
    uri, artifacts = tracking_place(recipe, folder)
    _check_reachable(uri)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "mlflow.lock"):
            # Two processes that create one database at the same time break it.
            client = _client(uri)
            experiment = _experiment(client, recipe.tracking.experiment, artifacts)
        run_id = _resume_or_create(client, experiment, recipe.name, key, {})
    except TrackingError:
        raise
    except Exception as error:  # whatever the many back ends raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrackingError(f"tracking.uri {uri}: MLflow cannot be used: {reason}") from error
    with _ended(client, run_id):
        tracker = MLflowTracker(client, TrackerHandle(uri, experiment, run_id))
        tracker.log_params(told)
        yield tracker


def tracking_place(recipe: Recipe, folder: Path) -> tuple[str, str | None]:
    """Return MLflow's address for a recipe and, where it is our own file, its artifact folder."""
    if recipe.tracking.uri:
        return recipe.tracking.uri, None
    folder = folder.absolute()
    return f"sqlite:///{folder / 'mlflow.db'}", (folder / "mlflow-artifacts").as_uri()


def _client(uri: str) -> "MlflowClient":
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    from mlflow import MlflowClient

    logging.getLogger("alembic").setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _check_reachable(uri: str) -> None:
    if not uri.startswith(("http://", "https://")):
        return
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=_REACH_SECONDS):
            return
    except urllib.error.HTTPError:
        return  # something answers; whether it is MLflow shows at the first request
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise TrackingError(
            f"tracking.uri {uri}: the MLflow server cannot be reached ({reason}); start it, "
            "correct the address, or leave tracking.uri out to use a local file"
        ) from None


def _experiment(client: "MlflowClient", name: str, artifacts: str | None) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=artifacts))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another process was faster
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        raise TrackingError(
            f"tracking.experiment {name}: this experiment was deleted; restore it with "
            f"`mlflow experiments restore -x {found.experiment_id}` or choose another name"
        )
    return str(found.experiment_id)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def _find(client: "MlflowClient", experiment: str, key: str, parent: str | None) -> Any:
    rule = f"tags.`{KEY_TAG}` = '{_digest(key)}'"
    if parent:
        rule += f" AND tags.`{PARENT_TAG}` = '{parent}'"
    found = client.search_runs([experiment], rule, order_by=["start_time DESC"])
    return next((run for run in found if parent or PARENT_TAG not in run.data.tags), None)


def _resume_or_create(
    client: "MlflowClient", experiment: str, name: str, key: str, tags: Mapping[str, str]
) -> str:
    run = _find(client, experiment, key, tags.get(PARENT_TAG))
    if run is None:
        run = client.create_run(experiment, tags={**tags, KEY_TAG: _digest(key)}, run_name=name)
    else:
        client.update_run(run.info.run_id, status="RUNNING")
    return str(run.info.run_id)


@contextmanager
def _ended(client: "MlflowClient", run_id: str) -> Iterator[None]:
    try:
        yield
    except Exception:
        client.set_terminated(run_id, "FAILED")
        raise
    except BaseException:  # Ctrl-C, SystemExit
        client.set_terminated(run_id, "KILLED")
        raise
    client.set_terminated(run_id, "FINISHED")


def _flat(tree: Mapping[str, Any], separator: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, separator, f"{prefix}{key}{separator}")
        else:
            yield f"{prefix}{key}", value


def _valid(key: str) -> str:
    """Return the key with characters that MLflow refuses replaced."""
    return re.sub(r"[^\w\-. /:]", "_", key)[:250]
