import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from pipelines.commands import cli
from pipelines.studies.sweep import sweep, table, with_updates
from wd.config import Recipe, TrainingConfig, overridden
from wd.errors import ConfigError

RECIPE = Recipe(
    name="r",
    source_language="en",
    target_language="de",
    fine_tuning=TrainingConfig(updates=1000, warmup_updates=100, validate_every=50),
)


def test_fewer_updates_scale_warm_up_and_validation_along() -> None:
    short = with_updates(RECIPE, 100)
    told = short.fine_tuning
    assert (told.updates, told.warmup_updates, told.validate_every) == (100, 10, 5)
    assert short.generator.training.updates == 100
    assert told.learning_rate == RECIPE.fine_tuning.learning_rate
    assert with_updates(RECIPE, 3).fine_tuning.validate_every == 1
    assert with_updates(RECIPE, None) == RECIPE


@pytest.mark.parametrize(
    ("changes", "spaces", "message"),
    [
        ({"fine_tuning.bleu_sentences": 0}, ["student_shape"], "bleu_sentences"),
        ({}, ["student_shap"], "did you mean student_shape"),
        ({"generator.grouping.norms": "copied"}, ["optimization"], "cannot be copied"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_any_work(
    tmp_path, changes: dict[str, Any], spaces: list[str], message: str
) -> None:
    root = tmp_path / "root"
    recipe = overridden(RECIPE, {"root": str(root), **changes})
    with pytest.raises(ConfigError, match=message):
        sweep(recipe, spaces, trials=2)
    assert not root.exists()


def test_the_table_names_only_what_varies() -> None:
    def trial(key: str, status: str, overrides: dict, metrics: dict) -> dict:
        return {"key": key, "status": status, "overrides": overrides, "metrics": metrics}

    same = {"generator.grouping.sharing": "class"}
    trials = [
        trial(
            "aaaaaaaa",
            "finished",
            {**same, "generator.training.dropout": 0.1, "fine_tuning.dropout": 0.25, "x.layers": 2},
            {"bleu": 12.345, "compression": 0.5},
        ),
        trial(
            "bbbbbbbb",
            "failed",
            {**same, "generator.training.dropout": 0.2, "fine_tuning.dropout": 0.5, "x.layers": 1},
            {},
        ),
    ]
    out = io.StringIO()
    Console(file=out, width=110).print(table({"trials": trials, "best": trials[0]}))
    shown = out.getvalue()
    assert "12.35" in shown
    assert "training.dropout 0.1, fine_tuning.dropout 0.25, layers 2" in shown
    assert "sharing" not in shown


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_every_trial_is_tracked_and_its_artifacts_are_a_runs(
    tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    from mlflow import MlflowClient

    given, root = [str(write_recipe(tmp_path))], tmp_path / "root"
    swept = CliRunner().invoke(cli.app, ["sweep", *given, "--trials", "2", "--json"])
    assert swept.exit_code == 0, swept.stderr
    told = json.loads(swept.stdout)
    finished = [trial for trial in told["trials"] if trial["status"] == "finished"]
    assert told["best"]["metrics"]["bleu"] == max(one["metrics"]["bleu"] for one in finished)

    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    (parent,) = [run for run in runs if run.info.run_name.startswith("sweep")]
    tag = "mlflow.parentRunId"
    trials = [run for run in runs if run.data.tags.get(tag) == parent.info.run_id]
    assert len(trials) == 2
    assert all("bleu" in run.data.metrics and run.data.params for run in trials)
    best = told["best"]["overrides"]
    again = [f"{key}={json.dumps(value)}" for key, value in best.items()]
    made = CliRunner().invoke(cli.app, ["student", *given, *again, "--dry-run"])
    assert "to do" not in made.stderr, made.stderr
