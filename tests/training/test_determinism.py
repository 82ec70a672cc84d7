"""The key for the same bits again: what it sets while it trains, and that a CPU does not care."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from wd.errors import ConfigError
from wd.training import teacher_pass
from wd.training.determinism import WORKSPACE, reproducible
from wd.training.job import TrainingJob, result_of
from wd.training.loop import Wish
from wd.training.run import run_job
from wd.training.world import World

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.mark.parametrize("phase", ["model", "generator"])
def test_it_is_set_inside_and_the_bits_on_a_cpu_stay(
    job: Callable[..., TrainingJob], phase: str
) -> None:
    torch.manual_seed(3)  # of phase 1's teacher
    free = job("free", phase)
    config = free.config.model_copy(update={"deterministic": True})
    fixed = replace(free, config=config, scratch=free.scratch.with_name("fixed"))
    seen = []

    def asked() -> Wish:  # after each update
        seen.append(torch.are_deterministic_algorithms_enabled())
        return "go on"

    run_job(free, World(), lambda _: None, asked)
    assert not any(seen)
    run_job(fixed, World(), lambda _: None, asked)
    assert seen[len(seen) // 2 :] == [True] * config.updates
    assert not torch.are_deterministic_algorithms_enabled()
    one, other = result_of(free), result_of(fixed)
    assert one is not None
    assert other is not None
    for name, weight in one.module.items():
        assert torch.equal(other.module[name], weight), name


def test_what_was_set_before_comes_back_after_an_error(job: Callable[..., TrainingJob]) -> None:
    config = job("one", deterministic=True).config
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with pytest.raises(ZeroDivisionError), reproducible(config, CPU):  # noqa: PT012
            assert not torch.is_deterministic_algorithms_warn_only_enabled()
            raise ZeroDivisionError
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_cublas_is_told_before_a_gpu_is_used(
    job: Callable[..., TrainingJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = job("one", deterministic=True).config
    monkeypatch.setenv(WORKSPACE, "")
    monkeypatch.delenv(WORKSPACE)
    with reproducible(config, CPU):
        assert WORKSPACE not in os.environ
    # One that is not deterministic comes first, in the same process.
    with reproducible(config.model_copy(update={"deterministic": False}), CUDA):
        assert os.environ[WORKSPACE] == ":4096:8"
    monkeypatch.setenv(WORKSPACE, ":0:0")
    with pytest.raises(ConfigError, match=WORKSPACE), reproducible(config, CUDA):
        pass


def test_a_teacher_s_pass_before_it_gives_products_the_same_order(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cuBLAS is asked once a process: at its first product."""

    def no_gpu_after_all(model: Path) -> None:
        assert os.environ[WORKSPACE] == ":4096:8"
        raise FileNotFoundError

    monkeypatch.setenv(WORKSPACE, "")
    monkeypatch.delenv(WORKSPACE)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(teacher_pass, "load_transformer", no_gpu_after_all)
    with pytest.raises(FileNotFoundError):
        teacher_pass.PartDistributions(model_folder, 8, "float16", "auto")
