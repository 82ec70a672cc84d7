"""One thing to be tracked, as plain data, and how MLflow is told of it: twice does no harm."""

import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wd.errors import ServerAwayError, TrackingError
from wd.tracking.finding import end_running, find, resume_or_create

if TYPE_CHECKING:
    from mlflow import MlflowClient

_MAX_PARAMS, _MAX_METRICS = 100, 1000
"""MLflow's limits: entries of one batch."""
_PROBE_SECONDS = 3.0
_CAUSE = re.compile(r"(?<=\] )[A-Z][\w ]+|too many \d+ error responses|Read timed out")
"""In what the transport says after its last try."""
_MAY_PASS = (401, 403, 408, 429)
"""Answers that another time may be others: credentials that ran out, too many requests."""


@dataclass(frozen=True)
class Entry:
    """Something to tell MLflow of a run."""

    kind: str
    """metrics, params, tags, file, end, end_child or create."""
    run_id: str
    data: Mapping[str, Any]

    def as_data(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


@contextmanager
def reached(client: "MlflowClient") -> Iterator[None]:
    """Raise TrackingError for what MLflow and its transport raise."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        away = not isinstance(error, MlflowException) or _is_away(error)
        kind = ServerAwayError if away else TrackingError
        raise kind(f"tracking.uri {client.tracking_uri}: {explained(error)}") from error


def explained(error: Exception) -> str:
    """Return the first line of what MLflow says; where it is about credentials, what to do."""
    status = getattr(error, "get_http_status_code", int)()
    if status == 401:
        return (
            "the server does not take these credentials, or wants some (401): set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        )
    if status == 403:
        return f"this user may not do that (403): {str(error).partition(chr(10))[0]}"
    first = str(error).partition("\n")[0]
    if "Max retries exceeded" in first:
        cause = _CAUSE.search(first)
        return f"the server does not answer ({cause[0] if cause else first})"
    return first or type(error).__name__


def answers(uri: str) -> bool:
    """Tell, within seconds, whether something answers at an http address; elsewhere it does."""
    if not uri.startswith(("http://", "https://")):
        return True
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=_PROBE_SECONDS):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except (OSError, ValueError):
        return False


def _is_away(error: Any) -> bool:
    status = int(error.get_http_status_code())
    return status >= 500 or status in _MAY_PASS


class Delivery:
    """Tells MLflow, and remembers what it knows already."""

    def __init__(self, client: "MlflowClient") -> None:
        self._client = client
        self._steps: dict[tuple[str, str], set[int]] = {}
        self._keys: dict[str, set[str]] = {}

    def __call__(self, entry: Entry, run_id: str) -> None:
        """Tell of an entry for the run of this id; raises TrackingError, ServerAwayError."""
        with reached(self._client):
            getattr(self, f"_{entry.kind}")(run_id, **entry.data)

    def _metrics(self, run_id: str, values: list[list[Any]], once: bool) -> None:
        """Log [key, value, timestamp in ms, step]; with `once` no step of a key a second time.

        A training that goes on from a checkpoint passes the same updates again.
        """
        from mlflow.entities import Metric

        new = [each for each in values if not once or each[3] not in self._known(run_id, each[0])]
        for start in range(0, len(new), _MAX_METRICS):
            batch = new[start : start + _MAX_METRICS]
            self._client.log_batch(run_id, metrics=[Metric(*each) for each in batch])
            if once:
                for key, _, _, step in batch:
                    self._steps[run_id, key].add(step)

    def _known(self, run_id: str, key: str) -> set[int]:
        """Return the steps that a run has of a metric."""
        if run_id not in self._keys:
            self._keys[run_id] = set(self._client.get_run(run_id).data.metrics)
        if (run_id, key) not in self._steps:
            seen = key in self._keys[run_id]
            found = self._client.get_metric_history(run_id, key) if seen else []
            self._steps[run_id, key] = {each.step for each in found}
        return self._steps[run_id, key]

    def _params(self, run_id: str, values: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        known = self._client.get_run(run_id).data.params
        new = [Param(key, value) for key, value in values.items() if key not in known]
        for start in range(0, len(new), _MAX_PARAMS):
            self._client.log_batch(run_id, params=new[start : start + _MAX_PARAMS])

    def _tags(self, run_id: str, values: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        tags = [RunTag(key, value) for key, value in values.items()]
        for start in range(0, len(tags), _MAX_PARAMS):
            self._client.log_batch(run_id, tags=tags[start : start + _MAX_PARAMS])

    def _file(self, run_id: str, path: str, folder: str) -> None:
        if Path(path).is_file():  # else it was told, and this process died before it noted that
            self._client.log_artifact(run_id, path, folder or None)

    def _end(self, run_id: str, status: str, time: int) -> None:
        self._client.set_terminated(run_id, status, time)

    def _end_child(self, run_id: str, experiment: str, key: str, status: str) -> None:
        run = find(self._client, experiment, key, run_id)
        if run is not None:
            end_running(self._client, experiment, run, status)

    def create(
        self, experiment: str, name: str, key: str, tags: Mapping[str, str], time: int | None = None
    ) -> str:
        """Return the id of the run with this key, made if there is none."""
        with reached(self._client):
            return resume_or_create(self._client, experiment, name, key, tags, time)


def valid_key(key: str) -> str:
    """Return the key with characters that MLflow refuses replaced."""
    return re.sub(r"[^\w\-. /:]", "_", key)[:250]
