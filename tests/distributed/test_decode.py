"""Work that is done apart is the same work: its result, its errors and its warnings come back."""

import os
import signal
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from wd.config import RayConfig
from wd.distributed import decode
from wd.distributed.decode import translate_apart
from wd.errors import ClusterError, DataError, UserError

ALONE = RayConfig(workers=0)


def tell(*, device: str, threads: int) -> dict[str, Any]:
    warnings.warn("3 of 5 translations were cut", stacklevel=2)
    return {"device": device, "threads": threads, "process": os.getpid()}


def fail(*, device: str, threads: int) -> None:
    raise DataError("nothing to evaluate")


def die(folder: Path, times: int, *, device: str, threads: int) -> int:
    tries = len(list(folder.iterdir()))
    (folder / str(tries)).touch()
    if tries < times:
        os.kill(os.getpid(), signal.SIGKILL)
    return tries


def test_without_workers_it_is_done_here() -> None:
    with pytest.warns(UserWarning, match="3 of 5"):
        told = translate_apart(tell, ALONE, "evaluation")
    assert told == {"device": "cpu", "threads": 0, "process": os.getpid()}
    asked = ALONE.model_copy(update={"evaluation_cpus": 2.0})
    with pytest.warns(UserWarning, match="3 of 5"):
        assert translate_apart(tell, asked, "evaluation")["threads"] == 2
    with pytest.raises(DataError, match="nothing to evaluate"):
        translate_apart(fail, ALONE, "evaluation")


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
class TestOnWorkers:
    def test_it_is_done_elsewhere_with_a_node_s_cpus(self) -> None:
        with pytest.warns(UserWarning, match="3 of 5") as given:
            told = translate_apart(tell, RayConfig(), "evaluation")
        assert len(given) == 1
        assert (told["device"], told["threads"]) == ("cpu", 2)
        assert told["process"] != os.getpid()
        with pytest.warns(UserWarning, match="3 of 5"):
            told = translate_apart(tell, RayConfig(evaluation_cpus=1), "evaluation")
        assert told["threads"] == 1

    def test_a_cluster_without_nodes_gets_one_before_it_is_asked_how_many_cpus_it_has(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        known = iter([None, 2.0])
        monkeypatch.setattr(decode, "most_cpus", lambda: next(known))
        with pytest.warns(UserWarning, match="3 of 5"):
            assert translate_apart(tell, RayConfig(), "evaluation")["threads"] == 2

    def test_a_user_s_error_comes_back_as_itself(self) -> None:
        with pytest.raises(DataError, match=r"^nothing to evaluate$"):
            translate_apart(fail, RayConfig(), "evaluation")

    def test_a_lost_process_is_replaced_and_too_many_are_told(self, tmp_path: Path) -> None:
        config = RayConfig(max_failures=1, evaluation_cpus=0.5)
        assert translate_apart(partial(die, tmp_path, 1), config, "ladder") == 1
        with pytest.raises(UserError, match=r"ladder: its process was lost 2 times \(ray\.max_"):
            translate_apart(partial(die, tmp_path, 9), config, "ladder")

    def test_what_the_cluster_has_no_room_for_is_told(self) -> None:
        config = RayConfig(evaluation_cpus=64)
        with pytest.raises(ClusterError, match=r"ray\.evaluation_cpus, .* a process of 64 CPUs"):
            translate_apart(tell, config, "evaluation")
