"""A run asks each stage once, and reads each of its inputs once, whoever needs them."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines.context import Run, Work
from pipelines.stages.everything import everything
from pipelines.studies.ladder import ladder
from pipelines.studies.rungs import rungs_of
from wd.artifacts import Metrics
from wd.config import Recipe, load_recipe, overridden

FILES = ("train.en", "train.de", "valid.en", "valid.de")
_opened: list[Counter[str]] = []


def _listen(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _opened:
        _opened[-1][str(arguments[0])] += 1


sys.addaudithook(_listen)


@contextmanager
def opened() -> Iterator[Counter[str]]:
    """Count how often each file is opened meanwhile."""
    _opened.append(Counter())
    try:
        yield _opened[-1]
    finally:
        _opened.pop()


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    for name in FILES:
        (tmp_path / name).write_text(f"a line of {name}\n", encoding="utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"""
name: mine
source_language: en
target_language: de
root: {tmp_path}/artifacts
corpus: {{dir: "{tmp_path}", train: ["train.{{lang}}"], valid: ["valid.{{lang}}"]}}
"""
    )
    return load_recipe(path)


def test_a_dry_run_hashes_each_file_once(recipe: Recipe, tmp_path: Path) -> None:
    with opened() as counts, Run(recipe, dry=True) as run:
        everything(run)
    assert {name: counts[str(tmp_path / name)] for name in FILES} == dict.fromkeys(FILES, 1)


def test_so_does_a_ladder_of_many_runs(recipe: Recipe, tmp_path: Path) -> None:
    with opened() as counts, Run(recipe, dry=True) as run:
        ladder(run, rungs_of((), ("xavier",)), seeds=3)
    assert {name: counts[str(tmp_path / name)] for name in FILES} == dict.fromkeys(FILES, 1)


def test_a_dry_run_looks_once_for_each_artifact(
    recipe: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    with Run(recipe, dry=True) as run:
        everything(run)
    lines = caplog.messages
    assert len(lines) == len(set(lines)) == len(run.outlook) == len(run.answers)


def test_without_tracking_the_registry_is_left_out(
    recipe: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    with Run(overridden(recipe, {"tracking.uri": "none"}), dry=True) as run:
        assert list(everything(run)) == ["evaluation"]
    assert not any(name.startswith("registry/") for name in run.outlook)
    assert caplog.text.count("left out  registry: tracking.uri is none") == 1


def test_published_figures_do_not_tear_the_curves(recipe: Recipe) -> None:
    """The validations are a curve; what is published has its own name, at the last update."""
    from wd.tracking import connect

    history = [{"phase": "teacher", "update": step, "bleu": step / 10} for step in (100, 200)]

    def build(work: Work) -> Metrics:
        for entry in history:
            work.tracker.log_metrics({"validation": {"bleu": entry["bleu"]}}, step=entry["update"])
        ids.append(work.tracker.run_id)
        return {"published": "average", "validation": {"bleu": 25.0}, "history": history, "n": 3}

    ids: list[str | None] = []
    with Run(recipe) as run:
        run.stage("teacher", version=1, config={}, inputs={}, build=build)
    client = connect(f"sqlite:///{recipe.root}/mlflow.db")

    def points(key: str) -> list[tuple[int, float]]:
        return [(each.step, each.value) for each in client.get_metric_history(ids[0], key)]

    assert points("validation/bleu") == [(100, 10.0), (200, 20.0)]
    assert points("published/bleu") == [(200, 25.0)]
    assert points("n") == [(200, 3.0)]
    assert client.get_run(ids[0]).data.tags["wd.published"] == "average"


def test_the_run_of_a_stage_ends_before_its_artifact_is_published(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a kill leaves no open run that nobody would come back to: what is found is never asked."""
    from wd.tracking import connect

    ids: list[str] = []

    def build(work: Work) -> Metrics:
        ids.append(str(work.tracker.run_id))
        return {"lines": 3}

    def killed(folder: Path, manifest: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, Run(recipe) as run:
        patch.setattr("wd.artifacts.write_manifest", killed)
        with pytest.raises(KeyboardInterrupt):
            run.stage("teacher", version=1, config={}, inputs={}, build=build)
    client = connect(f"sqlite:///{recipe.root}/mlflow.db")
    assert client.get_run(ids[0]).info.status == "FINISHED"
    with Run(recipe) as run:
        made = run.stage("teacher", version=1, config={}, inputs={}, build=build)
    assert made.metrics == {"lines": 3}
    assert ids == [ids[0]] * 2
    assert client.get_run(ids[0]).info.status == "FINISHED"


def test_what_exists_is_found_without_tracking(recipe: Recipe) -> None:
    with Run(overridden(recipe, {"tracking.uri": "none"})) as run:
        made = run.stage("teacher", version=1, config={}, inputs={}, build=lambda _: {})
    with Run(overridden(recipe, {"tracking.uri": "http://127.0.0.1:1"})) as run:
        assert run.stage("teacher", version=1, config={}, inputs={}, build=lambda _: {}) == made


@pytest.mark.parametrize("linked", [True, False])
def test_what_is_taken_is_there_twice_and_once_in_the_end(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    """A run that is killed while it takes parts finds them all again."""

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(1, "no links here")

    if not linked:
        monkeypatch.setattr(Path, "hardlink_to", refuse)

    def build(work: Work) -> Metrics:
        part = Path(work.scratch / "part")
        part.write_text("made")
        work.take(part, "train/part")
        assert (work.out / "train" / "part").read_text() == part.read_text() == "made"
        assert (work.out / "train" / "part").samefile(part) is linked
        return {}

    with Run(overridden(recipe, {"tracking.uri": "none"})) as run:
        made = run.stage("shards", version=1, config={}, inputs={}, build=build)
        assert (made.path / "train" / "part").read_text() == "made"
        assert not list(run.store.folder.glob(".work/shards/*"))
