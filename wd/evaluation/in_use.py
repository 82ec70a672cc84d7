"""What a model takes where it is used: size, quality, time of a line and lines per second."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

from wd.config import Config, EvaluationConfig, Quantization
from wd.decoding.engine import Translator
from wd.evaluation.quality import score
from wd.evaluation.samples import spaced
from wd.model.sizes import weight_bytes
from wd.places import Place

BATCH = 32
_HOW: dict[str, tuple[Quantization, ...]] = {
    "cpu": ("float32", "int8"),
    "cuda": ("float16", "int8_float16"),
}


class Pace(Config):
    """How fast, with so many threads."""

    threads: int
    milliseconds_median: float
    """Of a line alone, all threads working on it."""
    milliseconds_p95: float
    """95 of 100 lines take no longer."""
    sentences_per_second: float
    """Of batches of `BATCH` lines, each with a thread of its own."""


class InUse(Config):
    """A model whose weights are held in one way."""

    quantization: Quantization
    megabytes: float
    """Of its weights, in 10^6 bytes."""
    bleu: float
    """On the whole test set."""
    paces: tuple[Pace, ...]
    """With one thread, and with all where there are more."""


def in_use(
    folders: Mapping[str, Place],
    sources: Sequence[str],
    references: Sequence[str],
    language: str,
    config: EvaluationConfig,
    *,
    device: str,
    threads: int,
) -> dict[str, tuple[InUse, ...]]:
    """Return of each model directory what it takes.

    `device` is cpu or cuda. The lines that are timed are evenly spaced over the test set.
    """
    if not config.use_sentences:
        return dict.fromkeys(folders, ())
    lines = [sources[place] for place in spaced(len(sources), config.use_sentences)]
    found: dict[str, list[InUse]] = {name: [] for name in folders}
    for quantization in _HOW[device]:
        load = partial(_loaded, folders, quantization, device)
        every = one = load(1)
        paces = [_paces(one, one, lines, config, 1)]
        if threads > 1:
            every = load(threads)
            paces.append(_paces(load(1, threads), every, lines, config, threads))
        for name, translator in every.items():
            texts = [line.text for line in translator.translate(sources, config)]
            use = InUse(
                quantization=quantization,
                megabytes=weight_bytes(translator.config, quantization) / 1e6,
                bleu=score(texts, references, language).bleu,
                paces=tuple(pace[name] for pace in paces),
            )
            found[name].append(use)
    return {name: tuple(uses) for name, uses in found.items()}


def _loaded(
    folders: Mapping[str, Place],
    quantization: Quantization,
    device: str,
    threads: int,
    threads_per_batch: int = 1,
) -> dict[str, Translator]:
    return {
        name: Translator.from_directory(
            Path(folder),
            quantization=quantization,
            device=device,
            threads=threads,
            threads_per_batch=threads_per_batch,
        )
        for name, folder in folders.items()
    }


def _paces(
    alone: Mapping[str, Translator],
    together: Mapping[str, Translator],
    lines: Sequence[str],
    config: EvaluationConfig,
    threads: int,
) -> dict[str, Pace]:
    """Time lines one by one and in batches; the models take turns at each, and are warmed up."""
    milliseconds: dict[str, list[float]] = {name: [] for name in alone}
    for line in (lines[0], *lines):
        for name, translator in alone.items():
            milliseconds[name].append(1000 * _seconds(translator, [line], config, 1))
    rates = {
        name: len(lines) / _seconds(each, lines, config, threads) for name, each in together.items()
    }
    return {
        name: Pace(
            threads=threads,
            milliseconds_median=median(times[1:]),
            milliseconds_p95=_p95(times[1:]),
            sentences_per_second=rates[name],
        )
        for name, times in milliseconds.items()
    }


def _seconds(
    translator: Translator, lines: Sequence[str], config: EvaluationConfig, threads: int
) -> float:
    """Return how long lines take in batches, so many of which are translated at a time."""
    batches = [lines[start : start + BATCH] for start in range(0, len(lines), BATCH)]
    started = perf_counter()
    if len(batches) == 1:
        translator.translate(batches[0], config)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda batch: translator.translate(batch, config), batches))
    return perf_counter() - started


def _p95(times: Sequence[float]) -> float:
    return quantiles(times, n=20, method="inclusive")[-1] if len(times) > 1 else times[0]
