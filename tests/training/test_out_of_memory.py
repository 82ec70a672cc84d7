"""A lack of memory names the keys to change, wherever in a training it comes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from wd.errors import DeviceMemoryError, out_of_memory
from wd.model.transformer import Transformer
from wd.training.job import TrainingJob
from wd.training.run import run_job
from wd.training.world import World

TOLD = (
    "CUDA out of memory. Tried to allocate 3.99 GiB. GPU 0 has a total capacity of 79.11 GiB of "
    "which 1.20 GiB is free. Including non-PyTorch memory, this process has 77.90 GiB memory in "
    "use. Of the allocated memory 75.00 GiB is allocated by PyTorch, and 2.10 GiB is reserved by "
    "PyTorch but unallocated. If reserved but unallocated memory is large try setting something"
)


def fail(*inputs: Any) -> None:
    raise torch.OutOfMemoryError(TOLD)


@pytest.mark.parametrize("phase", ["model", "generator"])
def test_an_update_that_does_not_fit_names_its_batch_and_the_keys(
    job: Callable[..., TrainingJob], phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = job("one", phase)
    monkeypatch.setattr(Transformer, "forward", fail)
    with pytest.raises(DeviceMemoryError) as caught:
        run_job(one, World(), lambda _: None)
    told = str(caught.value)
    assert "total capacity of 79.11 GiB" in told
    assert "try setting" not in told
    assert "target pieces, padding included" in told
    for key in (
        "shards.batch_tokens",
        "batches_per_update",
        "precision",
        "sharding",
        "ray.workers",
    ):
        assert key in told
    assert "half of the one and 4 of the other" in told  # the fixture has 2 batches


def test_a_validation_that_does_not_fit_says_so_without_a_batch(
    job: Callable[..., TrainingJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wd.training.reporter.validate", fail)
    with pytest.raises(DeviceMemoryError, match=r"batch_tokens") as caught:
        run_job(job("one"), World(), lambda _: None)
    assert "target pieces" not in str(caught.value)


def test_other_errors_are_none_of_it() -> None:
    assert out_of_memory(RuntimeError("shapes cannot be multiplied")) is None
    assert out_of_memory(ValueError("out of memory")) is None
    assert out_of_memory(DeviceMemoryError("out of memory")) is None
    assert out_of_memory(MemoryError()) == "MemoryError"
    assert out_of_memory(RuntimeError("CUDA failed with error out of memory")) is not None
    assert out_of_memory(torch.OutOfMemoryError("no room")) == "no room"
