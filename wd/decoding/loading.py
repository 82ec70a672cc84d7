"""A CTranslate2 engine, loaded from weights that are in memory."""

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import ctranslate2
from torch import Tensor

from wd.config import ChosenQuantization, DecodingConfig, ModelConfig, Quantization
from wd.decoding.convert import write_ctranslate2
from wd.decoding.device import chosen_device, device_index
from wd.decoding.out_of_memory import memory_explained
from wd.errors import ConfigError
from wd.machine import usable_cpus


def loaded_engine(
    config: ModelConfig,
    state: Mapping[str, Tensor],
    *,
    source_pieces: Sequence[str],
    target_pieces: Sequence[str],
    quantization: ChosenQuantization,
    device: str,
    threads: int = 0,
    threads_per_batch: int = 1,
) -> ctranslate2.Translator:
    """Return an engine that holds a copy of the weights.

    `device` is cpu, cuda or auto; `threads` 0 takes every CPU that the process may use. Each
    translates batches of its own, with `threads_per_batch` of them together. Raises ConfigError
    for a device or a quantization that this machine does not have, DeviceMemoryError.
    """
    device = chosen_device(device)
    chosen = _checked_quantization(quantization, device)
    with tempfile.TemporaryDirectory(prefix="wd-decoding-") as folder:
        write_ctranslate2(
            Path(folder),
            config,
            state,
            source_pieces=source_pieces,
            target_pieces=target_pieces,
            quantization=chosen,
        )
        # Loading sets OpenMP's number of threads, by which torch goes too, in the thread that
        # loads; training goes on in this one.
        with ThreadPoolExecutor(1, "loading") as aside:
            # One thread for a batch beats one batch over all threads: models here are small.
            loading = aside.submit(
                ctranslate2.Translator,
                folder,
                device=device,
                device_index=device_index(device),
                compute_type=chosen,
                inter_threads=decoding_threads(device, threads),
                intra_threads=threads_per_batch,
            )
            with memory_explained(device):
                return loading.result()


def decoding_threads(device: str, threads: int) -> int:
    """Return how many threads decode on a device where so many are asked for; 0: all CPUs."""
    # A GPU decodes one batch at a time; its threads would only compete for it.
    return 1 if device == "cuda" else threads or usable_cpus()


def _checked_quantization(quantization: ChosenQuantization, device: str) -> Quantization:
    """Return what a device holds weights in; raises ConfigError if it cannot do what is asked."""
    chosen = DecodingConfig(quantization=quantization).on(device).quantization
    assert chosen != "auto"
    supported = ctranslate2.get_supported_compute_types(device)
    if chosen not in supported:
        usable = ", ".join(sorted(supported & set(get_args(Quantization))))
        raise ConfigError(f"quantization {chosen} does not run on {device}; use {usable}")
    return chosen
