"""Open the MLflow run of a pipeline: on a server, or in a file beside the artifacts."""

import getpass
import json
import logging
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from wd.config import NOT_TRACKED, Recipe
from wd.errors import TrackingError, without_credentials
from wd.manifest import command_line, commit
from wd.tracking.delivery import explained, reached
from wd.tracking.finding import digest, resume_or_create
from wd.tracking.moved import FILES, mend_moved_root
from wd.tracking.outbox import Outbox
from wd.tracking.recorded import record_recipe
from wd.tracking.runs import MLflowTracker, connect, ended
from wd.tracking.tracker import NullTracker, Tracker, TrackerHandle

if TYPE_CHECKING:
    from mlflow import MlflowClient

_REACH_SECONDS = 8
KEPT = "mlflow-unsent"
"""Folder for what a server that is away could not be told, below the artifacts' folder."""


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
    return MLflowTracker(Outbox(connect(handle.uri), Path(handle.kept)), handle)


@contextmanager
def open_tracker(recipe: Recipe, folder: Path) -> Iterator[Tracker]:
    """Open the parent run of a pipeline: a new one, or the one this recipe had before.

    Without `tracking.uri` and MLFLOW_TRACKING_URI it is in `<folder>/mlflow.db`, its files in
    `<folder>/mlflow-artifacts`. Where the address is `none` nothing is tracked.
    Raises TrackingError if MLflow is not installed, if the server cannot be reached or if the
    database cannot be used. Once it is open, nothing of the server's stops the run: what cannot be
    sent is kept in `<folder>/mlflow-unsent` until it can.
    """
    if not is_tracked(recipe):
        yield NullTracker()
        return
    # What is searched for is a sweep's; the pipeline below which it stands is the same.
    settings = recipe.model_dump(mode="json", exclude={"ray", "root", "search", "tracking"})
    key = json.dumps(settings, sort_keys=True)
    uri, artifacts = tracking_place(recipe, folder)
    check_reachable(uri)
    kept = folder.absolute() / KEPT / digest(uri)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "mlflow.lock"):
            # Two processes that create one database at the same time break it.
            mend_moved_root(uri)
            client = connect(uri)
            experiment = _experiment(client, recipe.tracking.experiment, artifacts)
        outbox = Outbox(client, kept)
        outbox.flush()  # of earlier runs; their ends come before this one's start
        with reached(client):
            run_id = resume_or_create(client, experiment, _name(recipe, key), key, {})
    except TrackingError:
        raise
    except Exception as error:  # whatever the many back ends raise
        raise TrackingError(
            f"tracking.uri {uri}: MLflow cannot be used: {explained(error)}"
        ) from error
    try:
        with ended(outbox, run_id):
            tracker = MLflowTracker(outbox, TrackerHandle(uri, experiment, run_id, str(kept)))
            tracker.log_params(settings)
            tracker.set_tags(_origin())
            record_recipe(tracker, recipe)
            yield tracker
    finally:
        outbox.flush()


def _name(recipe: Recipe, key: str) -> str:
    """Return what tells a run from others of the same recipe: the student, the pair, a mark."""
    pair = f"{recipe.source_language}-{recipe.target_language}"
    return f"{recipe.name} {recipe.student} {pair} {digest(key)[:4]}"


def _origin() -> dict[str, str]:
    """Return who started what, and of which commit, under the names that MLflow's pages show."""
    tags = {
        "mlflow.source.name": command_line(),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": commit(),
        "wd.host": socket.gethostname(),
    }
    with suppress(KeyError, OSError):  # a container may have no name for its user
        tags["mlflow.user"] = getpass.getuser()
    return {key: value for key, value in tags.items() if value}


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
    """Raise TrackingError, within seconds, if no server answers at an http address.

    And if it holds a password: MLflow's client tells the whole address in its messages.
    """
    if not uri.startswith(("http://", "https://")):
        return
    if without_credentials(uri) != uri:
        raise TrackingError(
            f"tracking.uri {uri}: an address with a password ends up in logs; set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead"
        )
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
