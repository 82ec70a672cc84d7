import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.mlflow_server import free_port, mlflow_server
from wd.config import Recipe, TrackingConfig, overridden, validated
from wd.registry import Registry, RegistryError
from wd.tracking import (
    NullTracker,
    Tracker,
    TrackingError,
    attach,
    connect,
    open_tracker,
    outbox,
    recorded_recipe,
    tracking_place,
)
from wd.training.job import TrainingJob, result_of
from wd.training.run import run_job
from wd.training.world import World

RECIPE = Recipe(name="it's", source_language="en", target_language="de")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as (uri, _):
        yield uri


@pytest.fixture(params=["file", pytest.param("server", marks=pytest.mark.slow)])
def recipe(request: pytest.FixtureRequest) -> Recipe:
    if request.param == "file":
        return RECIPE
    name = request.node.name  # one server for all tests
    uri = request.getfixturevalue("server")
    return RECIPE.model_copy(update={"tracking": TrackingConfig(uri=uri, experiment=name)})


def read(recipe: Recipe, folder: Path, tracker: Tracker):
    assert tracker.run_id
    return connect(tracking_place(recipe, folder)[0]).get_run(tracker.run_id)


def test_what_is_logged_can_be_read(recipe: Recipe, tmp_path: Path) -> None:
    with open_tracker(recipe, tmp_path) as run, run.child("teacher", key="teacher/1") as stage:
        stage.log_params({"shape": {"layers": 2, "wide": None}, "strange (key)!": "x" * 9000})
        stage.log_params({"shape": {"layers": 3}})
        stage.log_params({f"many.{number}": number for number in range(250)})
        figures = {"bleu": 12.5, "flag": True, "text": "no", "train": {"pairs": 7, "list": [1]}}
        stage.log_metrics(figures, step=4)
        stage.set_tags({"wd.artifact": "teacher/1"})
        note = tmp_path / "note.txt"
        note.write_text("hello")
        stage.log_file(note, "notes")
    found = read(recipe, tmp_path, stage)
    assert found.data.params["shape.layers"] == "2"
    assert len(found.data.params["strange _key__"]) == 6000
    assert found.data.params["many.249"] == "249"
    assert found.data.metrics == {"bleu": 12.5, "train/pairs": 7.0}
    assert found.data.tags["wd.artifact"] == "teacher/1"
    assert found.data.tags["mlflow.parentRunId"] == run.run_id
    client = connect(tracking_place(recipe, tmp_path)[0])
    assert [file.path for file in client.list_artifacts(stage.run_id, "notes")] == [
        "notes/note.txt"
    ]


@pytest.mark.slow
def test_training_goes_on_without_the_server(
    tmp_path: Path,
    job: Callable[..., TrainingJob],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    task = job("one", "generator")
    with mlflow_server(tmp_path) as (uri, process):
        recipe = RECIPE.model_copy(update={"tracking": TrackingConfig(uri=uri)})

        def validated(figures: dict[str, Any]) -> None:
            if figures["update"] == 8:
                os.killpg(process.pid, signal.SIGKILL)

        def track() -> None:
            with open_tracker(recipe, tmp_path) as run:
                run_job(replace(task, tracker=run.handle()), World(), validated)

        track()
    found = result_of(task)
    assert found is not None
    assert [each["update"] for each in found.figures["history"]] == [4, 8, 12]
    assert f"not tracked now: tracking.uri {uri}" in caplog.text
    assert "Traceback" not in caplog.text + capfd.readouterr().err
    port = int(uri.rpartition(":")[2])
    with mlflow_server(tmp_path, port), open_tracker(recipe, tmp_path) as run:
        client = connect(uri)
        history = client.get_metric_history(run.run_id, "validation/loss")
        assert [each.step for each in history] == [4, 8, 12], "nothing missing, nothing twice"


@pytest.mark.slow
def test_what_a_lost_server_was_not_told_is_sent_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(outbox, "_RETRY_SECONDS", 0.5)
    note = tmp_path / "note.txt"
    port = free_port()
    recipe = RECIPE.model_copy(update={"tracking": TrackingConfig(uri=f"http://127.0.0.1:{port}")})
    with ExitStack() as exits:
        server = exits.enter_context(mlflow_server(tmp_path, port))[1]
        with open_tracker(recipe, tmp_path) as run, run.child("before", "b") as before:
            before.log_metrics({"loss": 1.0}, step=1)
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
            before.log_metrics({"loss": 2.0}, step=2)
            before.log_params({"late": "yes"})
            note.write_text("as it was")
            before.log_file(note, "notes")
            note.write_text("as it is")
            with run.child("while away", "w") as away, away.child("below", "x") as below:
                below.log_metrics({"loss": 5.0}, step=5)
                below.set_tags({"wd.artifact": "x/1"})
            exits.enter_context(mlflow_server(tmp_path, port))
            time.sleep(0.6)
            before.log_metrics({"loss": 3.0}, step=3)
        client = connect(str(recipe.tracking.uri))
        history = client.get_metric_history(before.run_id, "loss")
        assert [(each.step, each.value) for each in history] == [(1, 1.0), (2, 2.0), (3, 3.0)]
        found = client.get_run(before.run_id)
        assert found.data.params["late"] == "yes"
        kept = client.download_artifacts(before.run_id, "notes/note.txt", str(tmp_path))
        assert Path(kept).read_text() == "as it was"
        runs = {
            each.info.run_name: each for each in client.search_runs([run.handle().experiment_id])
        }
        assert {each.info.status for each in runs.values()} == {"FINISHED"}
        assert len(runs) == 4
        assert runs["below"].data.metrics == {"loss": 5.0}
        parent = runs["while away"].data.tags["mlflow.parentRunId"]
        assert parent == run.run_id
        assert runs["below"].data.tags["mlflow.parentRunId"] == runs["while away"].info.run_id
        with open_tracker(recipe, tmp_path) as run, run.child("while away", "w") as again:
            pass
        assert again.run_id == runs["while away"].info.run_id, "it goes on as the same run"
    assert list((tmp_path / "mlflow-unsent").rglob("*.jsonl")) == []
    assert caplog.text.count("not tracked now: ") == 1
    assert "kept entries are sent, 0 left" in caplog.text


@pytest.mark.slow
def test_who_is_told_of_a_run_that_is_not_made_yet_can_still_track(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker is started while the server is away, and tracks when it is back."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    port = free_port()
    recipe = RECIPE.model_copy(update={"tracking": TrackingConfig(uri=f"http://127.0.0.1:{port}")})
    with ExitStack() as exits:
        server = exits.enter_context(mlflow_server(tmp_path, port))[1]
        with open_tracker(recipe, tmp_path) as run:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
            with run.child("while away", "w") as away:
                exits.enter_context(mlflow_server(tmp_path, port))
                attach(away.handle()).log_metrics({"loss": 1.0}, step=1)
        client = connect(str(recipe.tracking.uri))
        runs = client.search_runs([run.handle().experiment_id])
        (made,) = [each for each in runs if each.info.run_name == "while away"]
        assert made.data.metrics == {"loss": 1.0}
        assert made.info.status == "FINISHED"
    assert "not tracked: " not in caplog.text


@pytest.mark.slow
def test_a_server_that_is_away_costs_its_tries_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever tracks later, for whatever run: it is only asked whether it answers again."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    monkeypatch.setattr(outbox, "_RETRY_SECONDS", 0.0)
    with mlflow_server(tmp_path) as (uri, server):
        recipe = RECIPE.model_copy(update={"tracking": TrackingConfig(uri=uri)})
        with open_tracker(recipe, tmp_path) as run:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
            began = time.monotonic()
            run.log_metrics({"loss": 1.0}, step=1)
            tries, began = time.monotonic() - began, time.monotonic()
            for number in range(10):
                with run.child(f"stage {number}", str(number)) as stage:
                    other = attach(stage.handle())
                    with other.system_metrics():
                        other.log_metrics({"loss": 1.0}, step=1)
            assert time.monotonic() - began < tries
    assert caplog.text.count("not tracked now: ") == 1
    assert "the server does not answer (Connection refused); it is kept in " in caplog.text


def test_what_is_trained_again_is_not_tracked_twice(tmp_path: Path) -> None:
    """A killed training goes on from its checkpoint, and passes the updates after it again."""
    for steps in ((1, 2, 3), (2, 3, 4)):
        with open_tracker(RECIPE, tmp_path) as run, run.child("teacher", "t") as stage:
            for step in steps:
                stage.log_metrics({"loss": 1.0 / step}, step=step)
    client = connect(tracking_place(RECIPE, tmp_path)[0])
    history = client.get_metric_history(stage.run_id, "loss")
    assert [each.step for each in history] == [1, 2, 3, 4]


def test_a_process_that_died_while_sending_does_no_harm(tmp_path: Path) -> None:
    with open_tracker(RECIPE, tmp_path) as run:
        handle = run.handle()
    kept = Path(handle.kept)
    kept.mkdir(parents=True)
    entry = {"kind": "metrics", "run_id": handle.run_id}
    lines = [
        json.dumps(entry | {"data": {"values": [["a", 1.0, 7, 1]], "once": True}}),
        json.dumps(entry | {"data": {"values": [["b", 2.0, 7, 0]], "once": False}}),
        json.dumps(
            entry | {"run_id": "0" * 32, "data": {"values": [["a", 1, 7, 1]], "once": True}}
        ),
    ]
    for attempt in range(2):  # sent, and sent again; the last line was being written
        (kept / f"{attempt}.jsonl").write_text("\n".join([*lines, '{"kind": "metr']))
        with open_tracker(RECIPE, tmp_path):
            pass
    client = connect(handle.uri)
    for key in "ab":
        assert len(client.get_metric_history(handle.run_id, key)) == 1
    assert list(kept.glob("*.jsonl")) == []


def test_a_run_tells_its_origin(tmp_path: Path) -> None:
    with open_tracker(RECIPE, tmp_path) as run:
        pass
    found = read(RECIPE, tmp_path, run)
    assert found.info.run_name.startswith("it's tiny en-de ")
    assert "mlflow.source.name" in found.data.tags
    assert len(found.data.tags["mlflow.source.git.commit"]) == 40
    uri = tracking_place(RECIPE, tmp_path)[0]
    assert validated(Recipe, recorded_recipe(uri, run_id=run.run_id).recipe, "it") == RECIPE
    with pytest.raises(TrackingError, match="say the recipe"):
        recorded_recipe(uri, artifact="student/unknown-0123456789ab")


def test_the_machine_s_load_is_tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    for _ in range(2):  # the second time it goes on
        with open_tracker(RECIPE, tmp_path) as run, run.system_metrics():
            time.sleep(0.5)
    name = "system/cpu_utilization_percentage"
    history = connect(tracking_place(RECIPE, tmp_path)[0]).get_metric_history(run.run_id, name)
    steps = [each.step for each in history]
    assert len(steps) >= 2
    assert steps == sorted(set(steps))


def test_a_repeated_pipeline_continues_its_runs(recipe: Recipe, tmp_path: Path) -> None:
    ids = []

    def fail(attempt: int) -> None:
        with open_tracker(recipe, tmp_path) as run, run.child("teacher", key="a") as stage:
            ids.append((run, stage))
            stage.log_metrics({"attempt": attempt})
            raise ZeroDivisionError

    for attempt in range(2):
        with pytest.raises(ZeroDivisionError):
            fail(attempt)
    (run, stage), again = ids
    assert (run.run_id, stage.run_id) == tuple(tracker.run_id for tracker in again)
    assert read(recipe, tmp_path, run).info.status == "FAILED"
    assert read(recipe, tmp_path, stage).info.status == "FAILED"
    with open_tracker(recipe, tmp_path) as run:
        assert read(recipe, tmp_path, run).info.status == "RUNNING"
        with run.child("teacher", key="a") as stage, run.child("teacher", key="b") as other:
            pass
    assert (run.run_id, stage.run_id) == tuple(tracker.run_id for tracker in again)
    assert other.run_id != stage.run_id
    assert read(recipe, tmp_path, run).info.status == "FINISHED"


def test_another_recipe_is_another_run_but_another_cluster_is_not(tmp_path: Path) -> None:
    def opened(changes: dict[str, object]) -> str | None:
        changed = overridden(RECIPE, changes)
        with open_tracker(changed, tmp_path) as run:
            return run.run_id

    first = opened({})
    assert opened({"ray.workers": 2}) == first
    assert opened({"search.min_speed_up": 2.5}) == first
    assert opened({"student": "small"}) != first


def test_interrupted_and_abandoned_runs_are_killed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_tracker(RECIPE, tmp_path) as run:
        raise KeyboardInterrupt
    assert read(RECIPE, tmp_path, run).info.status == "KILLED"
    with open_tracker(RECIPE, tmp_path) as run:
        # What a killed process leaves: runs that nobody ended.
        orphan = run.child("trial", key="t")
        inner = orphan.__enter__().child("student", key="s")
        left = [inner.__enter__()]
        run.end_child("t", "KILLED")
        run.end_child("unknown", "KILLED")
        assert read(RECIPE, tmp_path, left[0]).info.status == "KILLED"
        with run.child("done", key="d") as done:
            pass
        run.end_child("d", "KILLED")
        assert read(RECIPE, tmp_path, done).info.status == "FINISHED"


def test_what_is_below_a_trial_that_was_stopped_is_finished(tmp_path: Path) -> None:
    with open_tracker(RECIPE, tmp_path) as run:
        with pytest.raises(SystemExit), run.child("trial", key="t") as trial:  # noqa: PT012
            with trial.child("done", key="d") as done:
                pass
            with trial.child("generator", key="g") as phase:
                raise SystemExit  # Tune lets go of its process
        assert read(RECIPE, tmp_path, phase).info.status == "KILLED"
        run.end_child("t", "FINISHED")
        for each in (trial, phase, done):
            assert read(RECIPE, tmp_path, each).info.status == "FINISHED"


def test_another_process_writes_into_the_same_run(recipe: Recipe, tmp_path: Path) -> None:
    with open_tracker(recipe, tmp_path) as run:
        path = tmp_path / "handle"
        path.write_bytes(pickle.dumps(run.handle()))
        code = (
            "import pickle, sys; from wd.tracking import attach\n"
            "attach(pickle.load(open(sys.argv[1], 'rb'))).log_metrics({'x': 3})"
        )
        root = Path(__file__).parents[1]
        subprocess.run([sys.executable, "-c", code, str(path)], cwd=root, check=True, timeout=120)
    assert read(recipe, tmp_path, run).data.metrics == {"x": 3.0}


def test_a_run_in_a_file_of_another_machine_is_not_tracked(tmp_path: Path) -> None:
    with open_tracker(RECIPE, tmp_path) as run:
        handle = run.handle()
    (tmp_path / "mlflow.db").unlink()
    assert isinstance(attach(handle), NullTracker)
    assert not (tmp_path / "mlflow.db").exists()
    assert isinstance(attach(NullTracker().handle()), NullTracker)


def test_processes_that_create_the_database_together(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from wd.config import Recipe\n"
        "from wd.tracking import open_tracker\n"
        "recipe = Recipe(name=sys.argv[1], source_language='en', target_language='de')\n"
        "with open_tracker(recipe, Path(sys.argv[2])) as run: print(run.run_id)"
    )
    root = Path(__file__).parents[1]
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, name, str(tmp_path)],
            cwd=root,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in "ab"
    ]
    ids = [process.communicate(timeout=120)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert all(ids)
    assert ids[0] != ids[1]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("http://127.0.0.1:{port}", "cannot be reached.*start it"),
        ("mlruns", "tracking.uri mlruns"),
        ("oracle://x", "tracking.uri oracle://x"),
    ],
)
def test_an_unusable_address_is_told_at_once(tmp_path: Path, uri: str, message: str) -> None:
    changed = overridden(RECIPE, {"tracking.uri": uri.format(port=free_port())})
    started = time.monotonic()
    with pytest.raises(TrackingError, match=message), open_tracker(changed, tmp_path):
        pytest.fail("this is not to be reached")
    assert time.monotonic() - started < 15


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        changed = overridden(RECIPE, {"tracking.uri": uri})
        with (
            pytest.raises(TrackingError, match="cannot be reached"),
            open_tracker(changed, tmp_path),
        ):
            pytest.fail("this is not to be reached")


def test_something_else_that_answers_is_not_taken_for_mlflow(tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout
        port = server.stdout.readline().split("port ")[1].split()[0]
        uri = f"http://127.0.0.1:{port}"
        changed = overridden(RECIPE, {"tracking.uri": uri})
        with pytest.raises(TrackingError, match=uri), open_tracker(changed, tmp_path):
            pytest.fail("this is not to be reached")
    finally:
        server.kill()
        server.wait()


@contextmanager
def refusing_server() -> Iterator[str]:
    """A server that is healthy and takes nobody's credentials."""

    class Refusal(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_wrong_credentials_are_told_with_what_to_do(tmp_path: Path) -> None:
    with refusing_server() as uri:
        changed = overridden(RECIPE, {"tracking.uri": uri})
        with (
            pytest.raises(TrackingError, match=r"\(401\): set MLFLOW_TRACKING_USERNAME"),
            open_tracker(changed, tmp_path),
        ):
            pytest.fail("this is not to be reached")
        with pytest.raises(RegistryError, match="set MLFLOW_TRACKING_USERNAME"):
            Registry(uri).check_languages("bird", "en-de")


def test_a_deleted_experiment_is_explained(tmp_path: Path) -> None:
    with open_tracker(RECIPE, tmp_path) as run:
        handle = run.handle()
    assert handle
    connect(handle.uri).delete_experiment(handle.experiment_id)
    with (
        pytest.raises(TrackingError, match="mlflow experiments restore"),
        open_tracker(RECIPE, tmp_path),
    ):
        pytest.fail("this is not to be reached")


def test_tracking_nothing_does_nothing(tmp_path: Path) -> None:
    nothing = NullTracker()
    with nothing.child("a", key="a") as child:
        child.log_params({"a": 1})
        child.log_metrics({"a": 1})
        child.log_file(tmp_path / "none")
        child.set_tags({"a": "b"})
    assert child.run_id is None
