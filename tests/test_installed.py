from pathlib import Path

import pytest

from pipelines.context import Run
from wd import installed
from wd.config import RayConfig, Recipe
from wd.distributed.map import map_parts
from wd.errors import ClusterError, TrackingError, UserError
from wd.tracking import NullTracker, is_tracked


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be found."""
    monkeypatch.setattr(installed, "find_spec", lambda name: None)


def recipe(root: Path, uri: str | None) -> Recipe:
    return Recipe(
        name="bird",
        source_language="en",
        target_language="de",
        root=str(root),
        tracking={"uri": uri},
    )


def test_what_is_there_is_no_error_and_what_is_not_is_one() -> None:
    installed.need(installed.RAY, "do without")
    with pytest.raises(UserError, match=r"absent is not installed: .*'absent\[all\]'; or do with"):
        installed.need("absent[all]", "do without")


@pytest.mark.usefixtures("bare")
def test_without_ray_the_message_says_how_to_do_without(tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_text("")
    with pytest.raises(ClusterError, match=r"'ray\[default,.*ray.workers=0"):
        map_parts(lambda one, other: {}, [part], tmp_path / "out", config=RayConfig(workers=1))


@pytest.mark.usefixtures("bare")
def test_without_mlflow_the_message_says_how_to_do_without(tmp_path: Path) -> None:
    with (
        Run(recipe(tmp_path / "root", None)) as run,
        pytest.raises(TrackingError, match=r"'mlflow'; or set tracking\.uri=none"),
    ):
        _ = run.tracker
    with Run(recipe(tmp_path / "root", "none")) as run:
        assert isinstance(run.tracker, NullTracker)


def test_none_in_the_environment_tracks_nothing_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_tracked(recipe(tmp_path, None))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "none")
    assert not is_tracked(recipe(tmp_path, None))
    assert is_tracked(recipe(tmp_path, "sqlite:////tmp/runs.db"))
