import io
import json
import logging
import os
import pickle
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from rich.console import Console
from typer.testing import CliRunner

from pipelines.commands import cli
from pipelines.context import Run
from pipelines.stages.outside import outside
from pipelines.studies.sweep import _make_inputs, _planned, sweep
from pipelines.studies.sweep_board import Board, line, live_table
from pipelines.studies.sweep_request import Request
from pipelines.studies.sweep_speeds import ShapeSpeeds
from pipelines.studies.sweep_trial import trial as run_trial
from pipelines.studies.sweep_trial import with_updates
from tests.mlflow_server import free_port, mlflow_server
from tests.waiting import wait_until
from wd.config import Recipe, SearchConfig, load_recipe, overridden
from wd.config.training import FineTuningConfig
from wd.distributed.points import Candidate
from wd.distributed.records import TrialEnd
from wd.errors import ConfigError, DataError, TrackingError
from wd.logs import SAID
from wd.tracking import attach

RECIPE = Recipe(
    name="r",
    source_language="en",
    target_language="de",
    fine_tuning=FineTuningConfig(updates=1000, warmup_updates=100, validate_every=50),
)
STACK = {"layers": 2, "d_model": 32, "heads": 4, "feed_forward": 64}
STUDENTS = {
    "tiny": {"decoder": {"layers": 1, "d_model": 16, "feed_forward": 32}},
    "small": {"decoder": {"layers": 1}},
}
SHAPE = {"encoder": STACK, "decoder": STACK, "norm": "pre"}


def test_fewer_updates_scale_warm_up_and_validation_along() -> None:
    short = with_updates(RECIPE, 100)
    told = short.fine_tuning
    assert (told.updates, told.warmup_updates, told.validate_every) == (100, 10, 5)
    assert short.generator.training.updates == 100
    assert told.learning_rate == RECIPE.fine_tuning.learning_rate
    assert with_updates(RECIPE, 3).fine_tuning.validate_every == 1
    assert with_updates(RECIPE, None) == RECIPE


def test_a_point_holds_for_the_recipes_own_updates() -> None:
    point = {"fine_tuning.warmup_updates": 300}
    assert with_updates(overridden(RECIPE, point), 100).fine_tuning.warmup_updates == 30


@pytest.mark.parametrize(
    ("changes", "spaces", "message"),
    [
        ({"fine_tuning.bleu_sentences": 0}, ["student_shape"], "bleu_sentences"),
        ({}, ["student_shap"], "did you mean student_shape"),
        ({"generator.grouping.norms": "copied"}, ["optimization"], "cannot be copied"),
        ({"search.max_parameters": 10}, ["joint"], "refused are .* by search.max_parameters 10"),
        ({}, ["none.yaml"], "none.yaml: no such file"),
        ({"via": ["small"]}, ["optimization"], "via: a sweep's students have one teacher"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_any_work(
    tmp_path: Path, changes: dict[str, Any], spaces: list[str], message: str
) -> None:
    root = tmp_path / "root"
    recipe = overridden(RECIPE, {"root": str(root), **changes})
    with pytest.raises(ConfigError, match=message):
        sweep(recipe, Request(spaces))
    assert not root.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_a_trial_needs_no_text(tmp_path: Path, write_recipe: Callable[..., Path]) -> None:
    path = write_recipe(tmp_path, teacher={"shape": SHAPE}, students=STUDENTS)
    with Run(load_recipe(path, ["tracking.uri=none"])) as run:
        _make_inputs(run)
        found = outside(run, overridden(run.recipe, run.elsewhere()))
    before = sorted((tmp_path / "root").glob("[!.]*/*"))
    (tmp_path / "text.de").unlink()
    found = pickle.loads(pickle.dumps(found))
    told = run_trial(found, 4, {"students.tiny.decoder.feed_forward": 48}, attach(None), print)
    assert told["update"] == 8
    new = {one.parent.name for one in {*(tmp_path / "root").glob("[!.]*/*")} - set(before)}
    assert new == {"generator", "student"}
    with pytest.raises(DataError, match=r"text\.de"):  # other text is not the driver's
        run_trial(found, 4, {"corpus.filters.max_words": 30}, attach(None), print)


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("algorithm", ["tpe", "grid"])
def test_the_recipe_is_tried_whatever_is_drawn(
    tmp_path: Path, write_recipe: Callable[..., Path], algorithm: str
) -> None:
    space = tmp_path / "rates.yaml"
    recipe = load_recipe(write_recipe(tmp_path, students=STUDENTS))
    rate = recipe.fine_tuning.learning_rate
    space.write_text(f"fine_tuning.learning_rate: [{rate}, {2 * rate}]\n")
    recipe = overridden(recipe, {"search.objectives": ["bleu"], "search.algorithm": algorithm})
    for seed in range(1, 9):
        run = Run(recipe, dry=True)
        _, plan = _planned(run, Request([str(space)], seed=seed), ShapeSpeeds(run))
        assert [one.refused for one in plan.given] == ["", ""], seed


def test_a_server_that_is_away_is_told_before_shapes_are_timed(tmp_path: Path) -> None:
    changes = {"root": str(tmp_path), "search.min_speed_up": 1, "tracking.uri": "http://[::1]:9"}
    with pytest.raises(TrackingError, match="cannot be reached"):
        sweep(overridden(RECIPE, changes), Request(["student_shape"]))
    assert not list(tmp_path.rglob("speed/*.json"))


END = TrialEnd("k", {}, "running", {"bleu": 12.345, "speed_up": 2.0, "update": 7}, name="tiny")


def test_a_log_gets_lines_and_a_terminal_one_table(caplog: pytest.LogCaptureFixture) -> None:
    refused = Candidate({}, "huge", refused="search.max_parameters 10: it has 20")
    caplog.set_level(logging.INFO)
    for is_terminal in (False, True):
        out = io.StringIO()
        console = Console(file=out, force_terminal=is_terminal, width=100)
        with Board(console, SearchConfig(), [refused]) as board:
            board.show(END)
        said = [each.message for each in caplog.records if each.levelno >= SAID]
        assert "trial huge: not tried: search.max_parameters 10: it has 20" in said
        assert (line(SearchConfig(), END) in said) is not is_terminal
        caplog.clear()
    assert line(SearchConfig(), END) == "trial tiny: running, update 7, bleu 12.35, speed_up 2"
    out = io.StringIO()
    Console(file=out, width=100).print(live_table(SearchConfig(max_trials=9), [END]))
    assert "1 running of 9" in out.getvalue()
    assert "12.35" in out.getvalue()


def runs_of(root: Path) -> list[Any]:
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    return list(client.search_runs([each.experiment_id for each in client.search_experiments()]))


def below(runs: list[Any], parent: Any) -> list[Any]:
    tag = "mlflow.parentRunId"
    return [run for run in runs if run.data.tags.get(tag) == parent.info.run_id]


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_a_sweep_is_reported_and_its_commands_make_the_same_students(
    tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    path = write_recipe(tmp_path, teacher={"shape": SHAPE}, students=STUDENTS)
    given, root = [str(path), "search.max_megabytes=0.2"], tmp_path / "root"
    swept = CliRunner().invoke(cli.app, ["sweep", *given, "--max-trials", "3", "--json"])
    assert swept.exit_code == 0, swept.stderr
    told = json.loads(swept.stdout)
    names = [trial["name"] for trial in told["trials"]]
    assert {"tiny (the recipe)", "small"} < set(names)
    assert len(names) == 3
    finished = [trial for trial in told["trials"] if trial["status"] == "finished"]
    assert told["trials"][0]["metrics"]["bleu"] == max(o["metrics"]["bleu"] for o in finished)
    assert all(trial["metrics"]["megabytes"] <= 0.2 for trial in told["trials"])
    assert {score["name"] for score in told["scores"]} >= {"teacher", "winner"}
    assert Path(told["report"]).is_file()

    runs = runs_of(root)
    (parent,) = [run for run in runs if run.info.run_name == "sweep student_shape grouping"]
    trials = below(runs, parent)
    assert {run.info.run_name for run in trials} == set(names)
    assert {run.info.status for run in trials} == {"FINISHED"}
    assert all(
        {"generator", "student"} >= {one.info.run_name.split()[0] for one in below(runs, run)}
        for run in trials
    )
    assert parent.data.tags["wd.best_trial"] == told["trials"][0]["key"]
    # Every command makes the very student of its trial.
    for trial in finished:
        _, _, *arguments = shlex.split(trial["command"])
        made = CliRunner().invoke(cli.app, ["student", *arguments, "--dry-run"])
        assert "to do" not in made.stderr, made.stderr

    # Nothing is left to do: the same again is told from records.
    again = CliRunner().invoke(cli.app, ["sweep", *given, "--max-trials", "3", "--json"])
    assert json.loads(again.stdout)["trials"] == told["trials"]
    assert "running" not in again.stderr


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_trials_on_workers_report_and_give_their_resources_back(
    tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    import ray
    from ray.util import placement_group_table

    path = write_recipe(tmp_path, teacher={"shape": SHAPE}, students=STUDENTS)
    options = ["search.workers_per_trial=1", "ray.cpus_per_worker=0.5", "search.objectives=[bleu]"]
    swept = CliRunner().invoke(
        cli.app, ["sweep", str(path), *options, "--max-trials", "2", "--json"]
    )
    assert swept.exit_code == 0, swept.stderr
    trials = json.loads(swept.stdout.splitlines()[-1])["trials"]  # Ray may warn before it
    assert len(trials) == 2
    assert all(len(trial["curve"]) > 1 for trial in trials if trial["status"] == "finished")
    wait_until(lambda: ray.available_resources().get("CPU") == 2.0)
    assert [one for one in placement_group_table().values() if one["state"] != "REMOVED"] == []


@pytest.mark.long
@pytest.mark.slow
def test_a_killed_sweep_goes_on_and_repeats_nothing(
    tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    path = write_recipe(tmp_path, teacher={"shape": SHAPE}, students=STUDENTS)
    command = one_at_a_time(path, 4)
    ended = partial(ended_trials, tmp_path / "root")
    log = (tmp_path / "log").open("w")
    first = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    wait_until(ended, first)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    before = ended()
    assert 0 < len(before) < 4, (tmp_path / "log").read_text()

    again = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=400)
    assert again.returncode == 0, again.stderr
    after = ended()
    assert len(after) == 4
    assert {key: after[key] for key in before} == before
    for end in before.values():
        assert f"trial {end['name']}: running" not in again.stderr


@pytest.mark.long
@pytest.mark.slow
def test_a_server_that_is_away_for_a_while_misses_nothing_of_a_sweep(
    tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    path = write_recipe(tmp_path, teacher={"shape": SHAPE}, students=STUDENTS)
    port, trials = free_port(), 3
    uri, ended = f"http://127.0.0.1:{port}", partial(ended_trials, tmp_path / "root")
    command = one_at_a_time(path, trials, f"tracking.uri={uri}")
    log = tmp_path / "log"
    with ExitStack() as exits:
        server = exits.enter_context(mlflow_server(tmp_path, port))[1]
        with log.open("w") as written:
            sweeping = subprocess.Popen(command, stdout=written, stderr=written)
        wait_for(ended, sweeping)
        os.killpg(server.pid, signal.SIGKILL)
        wait_for(lambda: "not tracked now" in log.read_text(), sweeping)
        wait_for(lambda: len(ended()) > 1, sweeping)
        exits.enter_context(mlflow_server(tmp_path, port))
        assert sweeping.wait(400) == 0, log.read_text()
        assert "not tracked now" in log.read_text()

        client = MlflowClient(uri)
        runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
        (parent,) = [run for run in runs if run.info.run_name.startswith("sweep student_shape")]
        found = below(list(runs), parent)
        told = {each["name"]: each for each in ended().values()}
        assert {run.info.run_name for run in found} == set(told)
        assert len(found) == trials
        for trial in found:
            phases = below(list(runs), trial)
            one = told[trial.info.run_name]
            assert len(phases) == 2 or one["status"] == "stopped"
            assert {run.info.status for run in (trial, *phases)} == {"FINISHED"}
            steps = [each.step for each in client.get_metric_history(trial.info.run_id, "bleu")]
            assert len(steps) == len(set(steps)), "nothing twice"
            assert sorted(steps) == [step for step, _ in one["curve"]], "nothing missing"
    assert list((tmp_path / "root" / "mlflow-unsent").rglob("*.jsonl")) == []


def one_at_a_time(path: Path, trials: int, *overrides: str) -> list[str]:
    """Return the command of a sweep for quality alone."""
    command = [sys.executable, "-m", "pipelines", "sweep", str(path), *overrides]
    return [*command, "search.objectives=[bleu]", "--max-trials", str(trials), "--concurrent", "1"]


def ended_trials(root: Path) -> dict[str, Any]:
    """Return key -> record of the trials that will not be tried again."""
    records = root / ".work" / "sweep"
    found = [json.loads(file.read_text()) for file in records.glob("*/*.json")]
    return {one["key"]: one for one in found if one["status"] in ("finished", "stopped")}


def wait_for(fact: Callable[[], object], process: subprocess.Popen[Any]) -> None:
    wait_until(fact, alive=lambda: process.poll() is None, seconds=240)
