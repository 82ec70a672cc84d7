"""A validation goes on on the CPU where CTranslate2 cannot use the training's GPU."""

import warnings
from collections.abc import Callable
from typing import Any

import ctranslate2
import pytest
import torch

from wd.decoding import device
from wd.model.transformer import Transformer
from wd.training.validation import HeldOut, _quality

ENGINE = ctranslate2.Translator


class Full:
    """An engine on a GPU whose memory a training has; on the CPU a real one."""

    def __init__(self, folder: str, *, device: str, **settings: Any) -> None:
        self.device = device
        self._engine = ENGINE(folder, device="cpu", **settings)

    def translate_batch(self, *args: Any, **settings: Any) -> Any:
        if self.device == "cuda":
            raise RuntimeError("CUDA failed with error out of memory")
        return self._engine.translate_batch(*args, **settings)


@pytest.mark.parametrize(
    ("trouble", "told"),
    [(None, "CUDA failed with error out of memory"), ("no cuBLAS 12", "")],
)
def test_bleu_is_the_cpu_s_and_training_goes_on(
    held_out: HeldOut,
    random_model: Callable[..., Transformer],
    monkeypatch: pytest.MonkeyPatch,
    trouble: str | None,
    told: str,
) -> None:
    model = random_model()
    asked = (model.config, model.state_dict(), held_out, 5)
    expected = _quality(*asked, torch.device("cpu"))
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 1)
    monkeypatch.setattr(
        ctranslate2, "get_supported_compute_types", lambda device: {"float32", "float16"}
    )
    monkeypatch.setattr(ctranslate2, "Translator", Full)
    monkeypatch.setattr(device, "trouble", lambda: trouble)
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always", UserWarning)
        assert _quality(*asked, torch.device("cuda")) == expected
    said = [str(one.message) for one in given if "validation" in str(one.message)]
    assert len(said) == bool(told)
    assert all(told in line for line in said)
