"""Whether GPUs are used is decided once, by what is there and what the recipe says."""

import pytest
import torch

from wd.config import RayConfig, Recipe, overridden
from wd.distributed import accelerator, runtime
from wd.distributed.accelerator import (
    check_half_precision,
    decoding_device,
    gpu_here,
    gpu_on_cluster,
    gpu_share,
)
from wd.errors import ConfigError


@pytest.fixture(autouse=True)
def _told_anew() -> None:
    accelerator._say.cache_clear()


@pytest.fixture
def card(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether torch sees a GPU in this process; a parameter of the test."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    return bool(request.param)


@pytest.mark.parametrize("card", [True, False], indirect=True)
def test_a_process_of_its_own_uses_what_torch_sees(
    card: bool, caplog: pytest.LogCaptureFixture
) -> None:
    alone = RayConfig(workers=0)
    assert [gpu_here(alone) for _ in range(2)] == [card, card]
    assert caplog.text.count("ray.gpu: auto: this process has a card") == card
    caplog.clear()
    assert decoding_device(alone) == ("auto" if card else "cpu")
    never = RayConfig(workers=0, gpu=False)
    assert not gpu_here(never)
    assert decoding_device(never) == "cpu"
    must = RayConfig(workers=0, gpu=True)
    if card:
        assert gpu_here(must)
        assert decoding_device(must) == "cuda"
    else:
        with pytest.raises(ConfigError, match=r"ray\.gpu: true, but torch .* sees no GPU"):
            gpu_here(must)
    assert caplog.messages == []


@pytest.mark.parametrize("card", [True, False], indirect=True)
@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("gpus", [0, 4])
def test_a_cluster_is_asked_for_what_is_up(
    card: bool,
    own: bool,
    gpus: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    import ray

    monkeypatch.setattr(runtime, "ensure_ray", lambda config: None)
    monkeypatch.setattr(runtime, "is_own", lambda: own)
    has = {"CPU": 8.0} | ({"GPU": float(gpus)} if gpus else {})
    monkeypatch.setattr(ray, "cluster_resources", lambda: has)
    used = gpus > 0 and (card or not own)  # a machine of ours may have a torch without CUDA
    assert gpu_on_cluster(RayConfig()) == used
    assert ("the cluster has 4 GPUs" in caplog.text) == used
    assert gpu_on_cluster(RayConfig(gpu=True))
    assert not gpu_on_cluster(RayConfig(gpu=False))


def test_one_process_takes_a_share_and_several_of_one_training_do_not() -> None:
    config = RayConfig(gpus_per_worker=0.25)
    assert gpu_share(config, True) == 0.25
    assert gpu_share(config, True, workers=2) == 1.0
    assert gpu_share(config, False) == 0.0


@pytest.mark.parametrize("card", [True, False], indirect=True)
@pytest.mark.parametrize("section", ["pseudo", "evaluation"])
def test_half_precision_without_a_gpu_is_told_before_the_work(card: bool, section: str) -> None:
    asked = {
        "ray.workers": 0,
        f"{section}.quantization": "float16",
    }
    bare = Recipe(name="bare", source_language="en", target_language="de")
    check_half_precision(overridden(bare, {"ray.workers": 0}))
    if card:
        check_half_precision(overridden(bare, asked))
    else:
        with pytest.raises(ConfigError, match=rf"{section}\.quantization: float16 .* finds no GPU"):
            check_half_precision(overridden(bare, asked))
