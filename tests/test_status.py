"""Who makes what, and how far it is, lies below the root while it is made."""

import logging
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from wd import status
from wd.errors import DataError
from wd.logs import facts, work_of, working_on
from wd.status import SILENT_SECONDS, Unfinished, shown, unfinished

LOG = logging.getLogger("wd.test")
NAME, PLACE = "teacher/mine-0123456789ab", "teacher/0123456789ab"
PROGRESS = {"done": 5, "of": 8, "unit": "updates", "loss": 1.5}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "BEAT_SECONDS", 0.05)


def seen(root: Path, enough: Callable[[Unfinished], object]) -> Unfinished:
    """Return the only unfinished work when it is as wanted."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = unfinished(str(root))
        if found and found[0].status and enough(found[0]):
            (one,) = found
            return one
        time.sleep(0.01)
    pytest.fail(f"not seen: {unfinished(str(root))}")


def test_what_is_logged_of_an_artifact_is_seen_from_elsewhere(tmp_path: Path) -> None:
    with working_on(command="wd run x"), shown(str(tmp_path), NAME, PLACE, "http://mlflow/run"):
        assert work_of() == {"command": "wd run x", "stage": "teacher", "artifact": NAME}
        LOG.debug("update 5 of 8", extra=facts(progress=PROGRESS))
        LOG.info("validation", extra=facts(validation={"update": 4, "loss": 2.5}))
        with working_on(artifact="student/other-1"):
            LOG.info("of another", extra=facts(progress={"done": 7}))
        (tmp_path / ".work" / PLACE / "checkpoints" / "update-00000004").mkdir(parents=True)
        one = seen(
            tmp_path,
            lambda one: one.status.progress and one.status.validation and one.checkpoint,
        )
        assert one.checkpoint == 4
        told = one.status
        assert told
        assert told.artifact == NAME
        assert told.state == "making"
        assert told.command == "wd run x"  # of who started this process
        assert told.mlflow == "http://mlflow/run"
        assert told.progress
        assert told.progress.items() > PROGRESS.items()
        assert told.validation
        assert told.validation["loss"] == 2.5
        first = told.beat
        seen(tmp_path, lambda one: one.status.beat > first)  # a sign of life
        assert not told.is_silent(first + timedelta(seconds=SILENT_SECONDS))
        assert told.is_silent(first + timedelta(seconds=SILENT_SECONDS + 1))
        shutil.rmtree(tmp_path / ".work" / PLACE, ignore_errors=True)  # as who publishes does
    assert unfinished(str(tmp_path)) == []
    assert not (tmp_path / ".work" / PLACE).exists()
    assert work_of() == {}


def fail(root: Path, error: BaseException) -> None:
    with shown(str(root), NAME, PLACE, None):
        LOG.debug("update 5 of 8", extra=facts(progress=PROGRESS))
        seen(root, lambda one: one.status)
        raise error


@pytest.mark.parametrize(
    ("error", "state"), [(RuntimeError("a bug"), "failed"), (KeyboardInterrupt(), "interrupted")]
)
def test_how_it_ended_is_kept_with_how_far_it_was(
    tmp_path: Path, error: BaseException, state: str
) -> None:
    with pytest.raises(type(error)):
        fail(tmp_path, error)
    (one,) = unfinished(str(tmp_path))
    assert one.status
    assert (one.status.state, one.status.error) == (state, str(error) or type(error).__name__)
    assert one.status.progress
    assert one.status.progress["done"] == 5
    assert not one.status.is_silent(datetime.now(UTC) + timedelta(days=1))


def test_what_mended_data_will_not_need_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        fail(tmp_path, DataError("empty"))
    assert unfinished(str(tmp_path)) == []


def test_a_disk_that_is_full_or_hangs_fails_and_delays_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".work").write_text("no folder")
    with shown(str(tmp_path), NAME, PLACE, None):
        LOG.debug("update", extra=facts(progress=PROGRESS))
        time.sleep(0.2)
    hangs = threading.Event()
    monkeypatch.setattr(status, "_write", lambda *what: hangs.wait(60))
    began = time.monotonic()
    with shown(str(tmp_path / "other"), NAME, PLACE, None):
        for _ in range(1000):
            LOG.debug("update", extra=facts(progress=PROGRESS))
    assert time.monotonic() - began < 5
    hangs.set()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"artifact": 1}', "[" * 1000])
def test_what_is_no_status_is_not_taken_for_one(tmp_path: Path, content: str) -> None:
    folder = tmp_path / ".work" / PLACE
    (folder / "checkpoints" / "update-00000007").mkdir(parents=True)
    (folder / "status.json").write_text(content)
    (one,) = unfinished(str(tmp_path))
    assert (one.status, one.checkpoint) == (None, 7)


def test_a_process_that_is_ended_in_the_middle_says_so(tmp_path: Path) -> None:
    code = (
        "import sys, threading, time\n"
        "from wd.status import shown\n"
        f"def make():\n    with shown({str(tmp_path)!r}, {NAME!r}, {PLACE!r}, None):\n"
        "        time.sleep(60)\n"
        "threading.Thread(target=make, daemon=True).start(); time.sleep(1); sys.exit(1)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], timeout=50)
    (one,) = unfinished(str(tmp_path))
    assert one.status
    assert (one.status.state, one.status.error) == ("interrupted", "its process was ended")
