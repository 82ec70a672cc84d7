"""How fast a shape decodes: measured with untrained weights, at a fixed output length.

Training changes what is said and not how long a step takes, so a shape has its speed before any.
"""

import random
from collections.abc import Callable, Mapping
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from wd.config import Config, DecodingConfig, ModelConfig
from wd.data.schema import BOS, EOS, PAD, UNK
from wd.decoding.loading import decoding_threads, loaded_engine
from wd.model.transformer import Transformer

_SENTENCES = 64
"""Decoded together."""
LENGTH = 24
"""Pieces of every source and of every translation."""
_REPEATS = 5


class ShapeSpeed(Config):
    """Medians over the repeats."""

    seconds: float
    """Of decoding all sentences together."""
    sentences_per_second: float
    milliseconds: float
    """Of decoding one sentence alone."""


def shape_speeds(
    models: Mapping[str, ModelConfig], settings: DecodingConfig, *, device: str = "cpu"
) -> dict[str, ShapeSpeed]:
    """Return the speeds of untrained models, which take turns so that a load meets all alike.

    `settings` gives the beam and the quantization; `device` is cpu, cuda or auto. All the process's
    CPUs are used. Raises ConfigError for a device or quantization that this machine does not have.
    """
    decoders = {name: untrained(model, settings, device=device) for name, model in models.items()}
    together: dict[str, list[float]] = {name: [] for name in models}
    alone: dict[str, list[float]] = {name: [] for name in models}
    for repeat in range(_REPEATS + 1):
        for name, decode in decoders.items():
            seconds = decode(_SENTENCES), decode(1)
            if repeat:  # the first one warms up
                together[name].append(seconds[0])
                alone[name].append(seconds[1])
    return {
        name: ShapeSpeed(
            seconds=median(together[name]),
            sentences_per_second=_SENTENCES / median(together[name]),
            milliseconds=1000 * median(alone[name]),
        )
        for name in models
    }


def untrained_state(config: ModelConfig) -> dict[str, Tensor]:
    """Return the same random weights at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Transformer(config).state_dict()


def untrained(
    config: ModelConfig, settings: DecodingConfig, *, device: str = "cpu", threads: int = 0
) -> Callable[[int], float]:
    """Return a function from a number of sentences to the seconds that decoding them takes.

    There are up to 64 sentences; `threads` share them evenly, 0: all the process's CPUs.
    """
    engine = loaded_engine(
        config,
        untrained_state(config),
        source_pieces=numbered_pieces(config.source_vocabulary),
        target_pieces=numbered_pieces(config.target_vocabulary),
        quantization=settings.quantization,
        device=device,
        threads=threads,
    )
    threads = decoding_threads(engine.device, threads)
    pieces = numbered_pieces(config.source_vocabulary)
    sources = [[pieces[each] for each in row] for row in random_sources(config.source_vocabulary)]

    def decode(count: int) -> float:
        started = perf_counter()
        engine.translate_batch(
            sources[:count],
            beam_size=settings.beam_size,
            min_decoding_length=LENGTH,
            max_decoding_length=LENGTH,
            max_batch_size=-(-count // threads),
        )
        return perf_counter() - started

    return decode


def numbered_pieces(size: int) -> list[str]:
    """Return a vocabulary that stands for any of this size."""
    special = {PAD: "<pad>", UNK: "<unk>", BOS: "<s>", EOS: "</s>"}
    return [special.get(number, f"piece{number}") for number in range(size)]


def random_sources(size: int) -> list[list[int]]:
    """Return sentences of a vocabulary of this size: `LENGTH` ids each, EOS last."""
    draw, least = random.Random(0), min(4, size - 1)
    return [
        [*(draw.randrange(least, size) for _ in range(LENGTH - 1)), EOS] for _ in range(_SENTENCES)
    ]
