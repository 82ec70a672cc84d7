"""A GPU is trusted only after it has translated: on machines that seem to have one."""

import ctypes
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ctranslate2
import pytest
import torch

from wd.config import DecodingConfig
from wd.decoding import device
from wd.decoding.engine import Translator
from wd.errors import ConfigError

NO_CUBLAS = "Library libcublas.so.12 is not found or cannot be loaded"
ROOT = Path(__file__).parents[2]


class Pretended:
    """An engine that computes on the CPU, says what it was asked for, and fails if told to."""

    error: str | None = None
    asked: list[str] = []  # noqa: RUF012 - of all engines of a test, in order
    indices: list[int] = []  # noqa: RUF012

    def __init__(self, folder: str, *, device: str, device_index: int, **settings: Any) -> None:
        type(self).asked.append(device)
        type(self).indices.append(device_index)
        self.device = device
        self._engine = ENGINE(folder, device="cpu", **settings)

    def translate_batch(self, *args: Any, **settings: Any) -> Any:
        if self.error and self.device == "cuda":
            raise RuntimeError(self.error)
        return self._engine.translate_batch(*args, **settings)


ENGINE = ctranslate2.Translator


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Pretended]]:
    """A machine whose driver shows one GPU; what computes on it is the CPU."""
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 1)
    monkeypatch.setattr(
        ctranslate2, "get_supported_compute_types", lambda device: {"float32", "float16", "int8"}
    )
    monkeypatch.setattr(ctranslate2, "Translator", Pretended)
    monkeypatch.setattr(Pretended, "error", None)
    monkeypatch.setattr(Pretended, "asked", [])
    monkeypatch.setattr(Pretended, "indices", [])
    for remembered in (device._lasting_trouble, device._warn):
        remembered.cache_clear()
    yield Pretended
    for remembered in (device._lasting_trouble, device._warn):
        remembered.cache_clear()


def test_a_full_gpu_is_tried_again(
    machine: type[Pretended], model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "error", "CUDA failed with error out of memory")
    assert device.chosen_device("auto") == "cpu"
    with pytest.raises(ConfigError, match=r"cannot use the GPU now .*out of memory"):
        device.chosen_device("cuda")
    monkeypatch.setattr(machine, "error", None)
    assert device.chosen_device("auto") == "cuda"


def test_the_gpu_is_the_one_that_torch_computes_on_here(
    machine: type[Pretended], model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    Translator.from_directory(model_folder, device="cuda", quantization="float32")
    assert machine.indices == [3, 3]  # the trial, and the model


def test_a_gpu_that_translates_is_used_and_tried_once(
    machine: type[Pretended], model_folder: Path, sentences: list[str]
) -> None:
    for _ in range(2):
        found = Translator.from_directory(model_folder, device="auto", quantization="float32")
        assert (found.device, found.threads) == ("cuda", 1)
    assert machine.asked == ["cuda"] * 3  # the trial, and two models
    here = Translator.from_directory(model_folder).translate(sentences, DecodingConfig(beam_size=1))
    there = found.translate(sentences, DecodingConfig(beam_size=1))
    assert [one.text for one in there] == [one.text for one in here]


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (NO_CUBLAS, "finds no cuBLAS 12.*libcublas.so.12.*pip install nvidia-cublas-cu12"),
        ("CUDA failed with error no kernel image", "cannot use the GPU .*no kernel image"),
    ],
)
def test_a_gpu_that_does_not_translate_is_told_and_not_used(
    machine: type[Pretended],
    model_folder: Path,
    sentences: list[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: str,
    advice: str,
) -> None:
    monkeypatch.setattr(machine, "error", error)
    with pytest.raises(ConfigError, match=f"device cuda: .*{advice}"):
        Translator.from_directory(model_folder, device="cuda")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            found = Translator.from_directory(model_folder, device="auto")
            assert found.device == "cpu"
    assert len(found.translate(sentences[:3], DecodingConfig(beam_size=1))) == 3
    (told,) = [one.message for one in caplog.records]
    assert told.startswith("translating on the CPU: ")
    assert machine.asked.count("cuda") == 1


def test_the_trial_is_a_translation_that_the_engine_can_do(
    machine: type[Pretended], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    def translate_batch(self: Pretended, *args: Any, **settings: Any) -> Any:
        told.extend(self._engine.translate_batch(*args, **settings))
        return told

    monkeypatch.setattr(machine, "translate_batch", translate_batch)
    assert device.trouble() is None
    assert len(told) == 1


def test_a_library_beside_no_search_path_is_found_by_its_name(tmp_path: Path) -> None:
    """A process that finds cuBLAS 12 in its package opens it afterwards by its bare name."""
    folder = tmp_path / "nvidia" / "cublas" / "lib"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    source = tmp_path / "empty.c"
    source.write_text("int wd_answers(void) { return 12; }\n")
    for name in ("libcublasLt.so.12", "libcublas.so.12"):
        command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", folder / name, source]
        try:
            subprocess.run(command, check=True)
        except FileNotFoundError:
            pytest.skip("no C compiler")
    code = (
        "import ctypes\n"
        "from wd.decoding.device import _preload_cublas\n"
        "_preload_cublas()\n"
        "print(ctypes.CDLL('libcublas.so.12').wd_answers())"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "/usr/bin:/bin"},
    )
    assert found.stdout == "12\n", found.stderr
    with pytest.raises(OSError, match="libcublas"):
        ctypes.CDLL("libcublas.so.12")  # here nobody has loaded it


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_chunks_with_their_pieces_made_beside_give_the_same_rows(
    model_folder: Path, sentences: list[str], chunk: int
) -> None:
    translator = Translator.from_directory(model_folder, threads=1)
    lines = ["", *sentences[:60], " ", *sentences[60:90]]
    settings = DecodingConfig(beam_size=3, max_length=12)
    whole = translator.translate(lines, settings)
    translator.chunk_lines = chunk
    parts = translator.translate(lines, settings)
    assert [(one.text, one.pieces, one.source) for one in parts] == [
        (one.text, one.pieces, one.source) for one in whole
    ]
    assert [one.score for one in parts] == pytest.approx([one.score for one in whole], abs=1e-5)
