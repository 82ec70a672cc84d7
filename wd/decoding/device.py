"""Where CTranslate2 computes: a GPU is trusted only after it has translated a line."""

import ctypes
import logging
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import ctranslate2
import torch

from wd.config import ModelConfig, StackShape
from wd.data.schema import BOS, EOS, UNK
from wd.decoding.convert import write_ctranslate2
from wd.errors import ConfigError, out_of_memory
from wd.model.sizes import tensor_shapes

_CUBLAS = ("libcublasLt.so.12", "libcublas.so.12")
"""What CTranslate2's wheel opens by these names when it first multiplies; the second needs the
first."""
_INSTALL = "pip install nvidia-cublas-cu12 (the extra `gpu` of weight-distillation)"
_PIECES = 8
_LOG = logging.getLogger(__name__)


def chosen_device(device: str) -> str:
    """Return cpu or cuda for cpu, cuda or auto.

    `auto` is a GPU that works, else the CPU; if there is one that does not work, a warning says
    why, once a process. Raises ConfigError for another word, and for a `cuda` that does not work.
    """
    if device not in ("cpu", "cuda", "auto"):
        raise ConfigError(f"device {device}: say cpu, cuda or auto")
    if device == "cpu":
        return device
    if not has_gpu():
        if device == "cuda":
            raise ConfigError("device cuda: this process sees no GPU; use cpu or auto")
        return "cpu"
    if (wrong := trouble()) is None:
        return "cuda"
    if device == "cuda":
        raise ConfigError(f"device cuda: {wrong}")
    _warn(wrong)
    return "cpu"


def device_index(device: str) -> int:
    """Return which of the GPUs that this process sees: the one that torch computes on here."""
    on_gpu = device == "cuda" and torch.cuda.is_initialized()
    return torch.cuda.current_device() if on_gpu else 0


def has_gpu() -> bool:
    """Tell whether the driver shows this process a GPU, which is not to say that it works."""
    return bool(ctranslate2.get_cuda_device_count() > 0)


def trouble() -> str | None:
    """Return what keeps CTranslate2 from the GPU, and what to do; None if it works.

    The driver counts GPUs without CUDA's libraries, so only a translation shows that all is there.
    It is tried once a process, and again where there was no memory for it: that may pass.
    """
    try:
        return _lasting_trouble()
    except RuntimeError as error:
        return f"CTranslate2 cannot use the GPU now ({str(error).splitlines()[0]})"


@cache
def _lasting_trouble() -> str | None:
    try:
        _preload_cublas()
        _translate_a_line()
    except (OSError, RuntimeError, ValueError) as error:
        if out_of_memory(error):
            raise
        why = str(error).splitlines()[0]
        if "libcublas" in why:
            return f"CTranslate2 finds no cuBLAS 12 ({why}); {_INSTALL}"
        return f"CTranslate2 cannot use the GPU ({why})"
    return None


@cache
def _warn(wrong: str) -> None:
    _LOG.warning("translating on the CPU: %s", wrong)


def _preload_cublas() -> None:
    """Load cuBLAS 12 from its package, if that is installed, under the name that is looked for.

    A wheel's folder is on nobody's search path; a library that is loaded is found by its name.
    """
    try:
        package = find_spec("nvidia.cublas")
    except ModuleNotFoundError:  # nothing of `nvidia` at all
        return
    for folder in (package.submodule_search_locations or ()) if package else ():
        for name in _CUBLAS:
            path = Path(folder, "lib", name)
            if path.is_file():
                ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


def _translate_a_line() -> None:
    """Translate one piece on the GPU with a model of one narrow layer; raises what that raises."""
    stack = StackShape(layers=1, d_model=8, heads=1, feed_forward=8)
    config = ModelConfig(
        encoder=stack, decoder=stack, source_vocabulary=_PIECES, target_vocabulary=_PIECES
    )
    state = {name: torch.full(shape, 0.01) for name, shape in tensor_shapes(config).items()}
    pieces = [str(index) for index in range(_PIECES)]
    for index, piece in ((UNK, "<unk>"), (BOS, "<s>"), (EOS, "</s>")):
        pieces[index] = piece
    with tempfile.TemporaryDirectory(prefix="wd-decoding-") as folder:
        write_ctranslate2(Path(folder), config, state, source_pieces=pieces, target_pieces=pieces)
        engine = ctranslate2.Translator(folder, device="cuda", device_index=device_index("cuda"))
        engine.translate_batch([[pieces[-1], pieces[EOS]]], beam_size=1, max_decoding_length=2)
