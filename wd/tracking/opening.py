"""Open the MLflow run of a pipeline: on a server, or in a file beside the artifacts."""

import json
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from wd.config import NOT_TRACKED, Recipe
from wd.errors import TrackingError
from wd.tracking.moved import FILES, mend_moved_root
from wd.tracking.runs import MLflowTracker, connect, ended, resume_or_create
from wd.tracking.tracker import NullTracker, Tracker, TrackerHandle

if TYPE_CHECKING:
    from mlflow import MlflowClient

_REACH_SECONDS = 8


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
    return MLflowTracker(connect(handle.uri), handle)


@contextmanager
def open_tracker(recipe: Recipe, folder: Path) -> Iterator[Tracker]:
    """Open the parent run of a pipeline: a new one, or the one this recipe had before.

    Without `tracking.uri` and MLFLOW_TRACKING_URI it is in `<folder>/mlflow.db`, its files in
    `<folder>/mlflow-artifacts`. Where the address is `none` nothing is tracked.
    Raises TrackingError if MLflow is not installed, if the server cannot be reached or if the
    database cannot be used.
    """
    if not is_tracked(recipe):
        yield NullTracker()
        return
    settings = recipe.model_dump(mode="json", exclude={"ray", "root", "tracking"})
    key = json.dumps(settings, sort_keys=True)
    uri, artifacts = tracking_place(recipe, folder)
    check_reachable(uri)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "mlflow.lock"):
            # Two processes that create one database at the same time break it.
            mend_moved_root(uri)
            client = connect(uri)
            experiment = _experiment(client, recipe.tracking.experiment, artifacts)
        run_id = resume_or_create(client, experiment, recipe.name, key, {})
    except TrackingError:
        raise
    except Exception as error:  # whatever the many back ends raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrackingError(f"tracking.uri {uri}: MLflow cannot be used: {reason}") from error
    with ended(client, run_id):
        tracker = MLflowTracker(client, TrackerHandle(uri, experiment, run_id))
        tracker.log_params(settings)
        yield tracker


def is_tracked(recipe: Recipe) -> bool:
    """Tell whether there is tracking, and a registry, or the address says `none`."""
    return tracking_address(recipe) != NOT_TRACKED


def tracking_address(recipe: Recipe) -> str | None:
    """Return the address that the recipe or else the environment names."""
    return recipe.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI") or None


def tracking_place(recipe: Recipe, folder: Path) -> tuple[str, str | None]:
    """Return MLflow's address for a recipe and, where it is our own file, its artifact folder."""
    if uri := tracking_address(recipe):
        return uri, None
    folder = folder.absolute()
    return f"sqlite:///{folder / 'mlflow.db'}", (folder / FILES).as_uri()


def check_reachable(uri: str) -> None:
    """Raise TrackingError, within seconds, if no server answers at an http address."""
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
