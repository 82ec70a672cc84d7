import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.data._internal.cluster_autoscaler import get_or_create_autoscaling_coordinator
from ray.exceptions import RayTaskError

from tests.distributed.text_parts import visible, write_parts
from tests.store.s3_server import CREDENTIALS
from tests.waiting import wait_until
from wd.config import RayConfig
from wd.distributed import resources
from wd.distributed.map import map_parts
from wd.distributed.parts import make
from wd.errors import ArtifactError, ClusterError, DataError, RegistryError
from wd.store.shelf import Shelf

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]
CONFIG = RayConfig()


def upper(log: Path, part: Path, out: Path) -> dict[str, Any]:
    with log.open("a") as stream:
        stream.write(f"{part.name}\n")
    text = part.read_text()
    if text == "bad":
        raise DataError(f"{part}: is bad")
    if text == "unregistered":
        raise RegistryError(f"{part}: is unregistered")
    if text == "bug":
        raise RuntimeError("a bug")
    if text == "kill" and log.read_text().count(part.name) == 1:
        out.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
    out.write_text(text.upper())
    return {"letters": len(text), "name": out.name}


class Suffix:
    def __init__(self, log: Path, suffix: str) -> None:
        with log.open("a") as stream:
            stream.write("built\n")
        self._log, self._suffix = log, suffix

    def __call__(self, part: Path, out: Path) -> dict[str, Any]:
        # Until the other actor is there too, so that this one cannot do it all.
        wait_until(lambda: self._log.read_text().count("built") >= 2)
        out.write_text(part.read_text() + self._suffix)
        return {"pid": os.getpid()}


def test_parts_keep_names_and_order_and_are_made_once(tmp_path: Path) -> None:
    parts = write_parts(tmp_path / "in", "a", "bbb", "cc")
    worker = partial(upper, tmp_path / "log")
    out = tmp_path / "out"
    stats = map_parts(worker, parts, out, config=CONFIG)
    assert [part["letters"] for part in stats] == [1, 3, 2]
    assert [part["name"] for part in stats] == ["part-0", "part-1", "part-2"]
    assert visible(out) == {"part-0": "A", "part-1": "BBB", "part-2": "CC"}
    assert map_parts(worker, parts[::-1], out, config=CONFIG) == stats[::-1]
    (out / "part-1").unlink()
    assert map_parts(worker, parts, out, config=CONFIG) == stats
    assert sorted((tmp_path / "log").read_text().split()) == [
        "part-0",
        "part-1",
        "part-1",
        "part-2",
    ]


def test_actors_are_built_once_and_share_the_work(tmp_path: Path) -> None:
    parts = write_parts(tmp_path / "in", *"abcdef")
    args = (tmp_path / "log", "!")
    stats = map_parts(Suffix, parts, tmp_path / "out", config=CONFIG, actor_args=args)
    assert sorted(visible(tmp_path / "out").values()) == [f"{text}!" for text in "abcdef"]
    built = (tmp_path / "log").read_text().count("built")
    assert len({part["pid"] for part in stats}) == built == 2


def test_killed_worker_is_replaced_and_leaves_nothing(tmp_path: Path) -> None:
    parts = write_parts(tmp_path / "in", "a", "kill")
    map_parts(partial(upper, tmp_path / "log"), parts, tmp_path / "out", config=CONFIG)
    assert visible(tmp_path / "out") == {"part-0": "A", "part-1": "KILL"}
    assert not list((tmp_path / "out").glob("*.partial"))


@pytest.mark.parametrize(
    ("text", "error"),
    [("bad", DataError), ("unregistered", RegistryError), ("bug", RayTaskError)],
)
def test_failed_part_is_never_visible_and_the_others_stay(
    tmp_path: Path, text: str, error: type[Exception]
) -> None:
    parts = write_parts(tmp_path / "in", "a", text)
    worker = partial(upper, tmp_path / "log")
    map_parts(worker, parts[:1], tmp_path / "out", config=CONFIG)
    with pytest.raises(error, match=text):
        map_parts(worker, parts, tmp_path / "out", config=CONFIG)
    assert visible(tmp_path / "out") == {"part-0": "A"}
    parts[1].write_text("good")
    map_parts(worker, parts, tmp_path / "out", config=CONFIG)
    assert visible(tmp_path / "out") == {"part-0": "A", "part-1": "GOOD"}


def test_a_node_that_does_not_see_the_folder_says_so(tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.touch()
    with pytest.raises(ArtifactError, match=r"has no .*/absent: put root on a file"):
        make(lambda source, made: {}, part, tmp_path / "absent")


def test_actors_that_cannot_fit_are_told(tmp_path: Path) -> None:
    parts = write_parts(tmp_path / "in", "a")
    config = RayConfig(map_cpus=64)
    with pytest.raises(ClusterError, match=r"ray.map_cpus.* a process of 64 CPUs, .* has 2 CPUs"):
        map_parts(Suffix, parts, tmp_path / "out", config=config, actor_args=(tmp_path / "log", ""))


def meet(folder: Path, part: Path, out: Path) -> dict[str, Any]:
    """Wait for a second part to be made at the same time."""
    (folder / part.name).touch()
    wait_until(lambda: len(list(folder.iterdir())) >= 2, seconds=100)
    out.touch()
    return {}


def test_parts_are_made_side_by_side_whatever_was_reserved_by_who_is_gone(tmp_path: Path) -> None:
    """A killed driver leaves all that it had reserved with Ray Data's coordinator, for minutes."""
    coordinator = get_or_create_autoscaling_coordinator()
    all_there_is = [node["Resources"] for node in ray.nodes()]
    ray.get(coordinator.request_resources.remote("killed", all_there_is, expire_after_s=180))
    (tmp_path / "met").mkdir()
    parts = write_parts(tmp_path / "in", "a", "b")
    try:
        map_parts(partial(meet, tmp_path / "met"), parts, tmp_path / "out", config=CONFIG)
    finally:
        ray.get(coordinator.cancel_request.remote("killed"))


def slow(log: Path, part: Path, out: Path) -> dict[str, Any]:
    os.environ |= CREDENTIALS  # this process is older than the test's store
    log.write_text(str(time.time()))
    time.sleep(2)
    out.touch()
    return {}


def test_a_part_that_takes_long_is_not_said_to_wait_for_room(
    tmp_path: Path,
    store_root: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of a part that goes to a store nothing is seen before it is complete."""
    monkeypatch.setattr(resources, "TELL_SECONDS", 0.1)
    log = tmp_path / "log"
    parts = write_parts(tmp_path / "in", "a")
    map_parts(partial(slow, log), parts, Shelf(store_root, ".work/test/map/out"), config=CONFIG)
    began = float(log.read_text())
    told = [each.created for each in caplog.records if "waiting for room" in each.getMessage()]
    assert [when for when in told if when > began + 1] == []
