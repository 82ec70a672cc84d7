"""The recipe of a run, kept with it, so that a run or an artifact can be asked for its recipe."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wd.config import Recipe
from wd.errors import TrackingError, without_credentials
from wd.tracking.delivery import reached
from wd.tracking.finding import PARENT_TAG
from wd.tracking.moved import mend_moved_root
from wd.tracking.runs import connect
from wd.tracking.tracker import Tracker

if TYPE_CHECKING:
    from mlflow import MlflowClient

RECIPE = "recipe.json"


def record_recipe(tracker: Tracker, recipe: Recipe) -> None:
    """Keep a recipe as the file `recipe.json` of a run; where it is tracked is left out."""
    tree = recipe.model_dump(mode="json", exclude={"tracking": {"uri"}})
    tree["generator"] = recipe.generator.given()  # a preset fills what is not given
    with tempfile.TemporaryDirectory(prefix="wd-tracking-") as folder:
        path = Path(folder, RECIPE)
        text = without_credentials(json.dumps(tree, indent=2, ensure_ascii=False))
        path.write_text(f"{text}\n", encoding="utf-8")
        tracker.log_file(path)


@dataclass(frozen=True)
class Recorded:
    """What a pipeline's run tells of itself."""

    recipe: Mapping[str, Any]
    """As plain data."""
    student: str | None
    """The artifact that its newest evaluation measured as WD; None if there was none."""


def recorded_recipe(
    uri: str, *, run_id: str | None = None, artifact: str | None = None
) -> Recorded:
    """Return the recipe of a run or of the run that made an artifact.

    A stage's run has its pipeline's. Raises TrackingError if nothing of it is tracked at `uri`.
    """
    mend_moved_root(uri)
    client = connect(uri)
    with reached(client):
        run = client.get_run(run_id) if run_id else _maker(client, artifact or "")
        while run is not None:
            names = [file.path for file in client.list_artifacts(run.info.run_id)]
            if RECIPE in names:
                return Recorded(_read(client, run.info.run_id), _student(client, run))
            parent = run.data.tags.get(PARENT_TAG)
            run = client.get_run(parent) if parent else None
    raise TrackingError(
        f"{run_id or artifact}: no run at {uri} tells its recipe; say the recipe instead"
    )


def _maker(client: "MlflowClient", artifact: str) -> Any:
    mark = "'" if '"' in artifact else '"'
    places = [each.experiment_id for each in client.search_experiments()]
    rule = f"tags.`wd.artifact` = {mark}{artifact}{mark}"
    return next(iter(client.search_runs(places, rule, order_by=["start_time DESC"])), None)


def _student(client: "MlflowClient", run: Any) -> str | None:
    rule = f"tags.`{PARENT_TAG}` = '{run.info.run_id}' AND tags.`wd.artifact` LIKE 'evaluation/%'"
    found = client.search_runs([run.info.experiment_id], rule, order_by=["end_time DESC"])
    return next((each.data.tags.get("wd.input.WD") for each in found), None)


def _read(client: "MlflowClient", run_id: str) -> Mapping[str, Any]:
    with tempfile.TemporaryDirectory(prefix="wd-tracking-") as folder:
        path = client.download_artifacts(run_id, RECIPE, folder)
        found: Mapping[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return found
