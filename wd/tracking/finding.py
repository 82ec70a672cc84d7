"""Runs by their keys: a repeated pipeline continues its runs instead of leaving new ones."""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY_TAG = "wd.key"
PARENT_TAG = "mlflow.parentRunId"


def digest(key: str) -> str:
    """Return a key as a tag has it."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def find(client: "MlflowClient", experiment: str, key: str, parent: str | None) -> Any:
    """Return the newest run with this key below `parent`, or of those without one; or None."""
    rule = f"tags.`{KEY_TAG}` = '{digest(key)}'"
    if parent:
        rule += f" AND tags.`{PARENT_TAG}` = '{parent}'"
    found = client.search_runs([experiment], rule, order_by=["start_time DESC"])
    return next((run for run in found if parent or PARENT_TAG not in run.data.tags), None)


def resume_or_create(
    client: "MlflowClient",
    experiment: str,
    name: str,
    key: str,
    tags: Mapping[str, str],
    time: int | None = None,
) -> str:
    """Return the id of the run with this key (below `tags`' parent), now marked as running.

    `time`, in ms, is when a new one began; default: now.
    """
    run = find(client, experiment, key, tags.get(PARENT_TAG))
    if run is None:
        marked = {**tags, KEY_TAG: digest(key)}
        run = client.create_run(experiment, time, marked, run_name=name)
    else:
        client.update_run(run.info.run_id, status="RUNNING")
    return str(run.info.run_id)


def end_running(client: "MlflowClient", experiment: str, run: Any, status: str) -> None:
    """End a run, and those below it, if nobody has.

    What is finished by being stopped on purpose, its process may have ended as killed.
    """
    rule = f"tags.`{PARENT_TAG}` = '{run.info.run_id}'"
    for child in client.search_runs([experiment], rule):
        end_running(client, experiment, child, status)
    if run.info.status in ("RUNNING", "KILLED" if status == "FINISHED" else None):
        client.set_terminated(run.info.run_id, status)
