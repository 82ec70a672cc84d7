"""What fits a cluster, and the waiting for what does not fit yet."""

import time
from typing import Any

import pytest
import ray

from wd.distributed import resources
from wd.distributed.resources import Want, await_room, room, watched
from wd.errors import ClusterError

Nodes = list[dict[str, Any]]


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Nodes:
    """The cluster's nodes, to which a test adds; nobody started them from here."""
    up: Nodes = []

    def total() -> dict[str, float]:
        return {
            kind: sum(node["Resources"].get(kind, 0.0) for node in up) for kind in ("CPU", "GPU")
        }

    monkeypatch.setattr(ray, "nodes", lambda: up)
    monkeypatch.setattr(ray, "cluster_resources", total)
    monkeypatch.setattr(ray, "available_resources", total)
    monkeypatch.setattr(resources, "is_own", lambda: False)
    monkeypatch.setattr(resources, "scales", lambda: False)
    monkeypatch.setattr(resources, "_LOOK_SECONDS", 0.01)
    return up


def node(cpus: float, gpus: float = 0.0, *, alive: bool = True) -> dict[str, Any]:
    return {"Alive": alive, "Resources": {"CPU": cpus} | ({"GPU": gpus} if gpus else {})}


def want(cpus: float, gpus: float = 0.0, processes: int = 1) -> Want:
    return Want(cpus, gpus, "ray.map_cpus", processes)


def test_a_process_is_on_one_node_and_its_share_on_one_card(nodes: Nodes) -> None:
    nodes += [node(8, 2), node(3), node(64, alive=False)]
    assert room(want(1)) == 11
    assert room(want(2)) == 5  # not 5.5: no process is on two nodes
    assert room(want(1, 1)) == 2
    assert room(want(1, 0.25)) == 8
    assert room(want(1, 0.4)) == 4  # not 5: no process is on two cards
    assert room(want(1, 0.1)) == 8
    assert room(want(9)) == 0


def test_a_cluster_of_our_own_is_all_there_will_be(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "is_own", lambda: True)
    nodes.append(node(2))
    await_room(want(1, processes=2), "teacher")
    with pytest.raises(
        ClusterError, match=r"ray\.map_cpus, .*wants 2 processes of 2 CPUs each, th"
    ):
        await_room(want(2, processes=2), "teacher")
    with pytest.raises(ClusterError, match=r"wants a process of 1 CPUs and 1 GPU, .*0 GPUs in all"):
        await_room(want(1, 1), "teacher")


def test_nodes_that_join_are_waited_for_a_while(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resources, "PATIENCE_SECONDS", 0.3)
    nodes.append(node(1))
    with pytest.raises(ClusterError, match="1 CPUs and 0 GPUs in all on 1 nodes"):
        await_room(want(2), "teacher")
    assert caplog.text.count("teacher: waiting for room: it wants a process of 2") == 1

    looks = iter(range(3))

    def joins() -> bool:
        if next(looks) == 2:
            nodes.append(node(2))
        return False

    monkeypatch.setattr(resources, "scales", joins)
    await_room(want(2), "teacher")
    assert room(want(2)) == 1


def test_an_autoscaler_is_left_to_do_its_work(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "scales", lambda: True)
    await_room(want(96, 8), "teacher")  # at once: Ray's queue is what makes nodes come


def test_who_watches_tells_until_something_has_begun(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resources, "TELL_SECONDS", 0.05)
    answers = iter([False, False, True])
    with watched(want(1, 0.5), "pseudo", lambda: next(answers)):
        time.sleep(1)
    told = caplog.messages
    assert len(told) == 2
    assert told[0].startswith("pseudo: waiting for room: it wants a process of 1 CPUs and 0.5 GPU,")
