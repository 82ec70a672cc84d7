"""How fast a card is, how much of that training takes, and what phase 1 adds.

Shapes: see `random_batches`.
"""

import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from importlib import metadata
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from card.records import Options, Records, synchronize
from phase_one import make_trainee
from random_batches import read_batches, write_batches
from wd.config import ModelConfig, Recipe
from wd.data.batches import Batch
from wd.data.schema import PAD
from wd.manifest import commit
from wd.model.sizes import decoder_flops, encoder_flops
from wd.training.trainee import Trainee
from wd.training.world import World

MODELS = {"base": "wmt14-ende-base", "big": "wmt14-ende-big"}
KINDS = ("ours", "Hugging Face", "ours compiled", "Hugging Face compiled")
SETTINGS = ((4096, 8), (32_768, 1))
"""Pieces a batch and side, batches an update."""
TOY_SETTINGS = ((128, 2), (256, 1))
PAIRS = (("base", "tiny"), ("base", "small"), ("big", "tiny"))
UPDATES, WINDOWS = 4, 3
"""So many updates are timed together, so many times."""
Update = Callable[[Sequence[Batch]], torch.Tensor]


def ceilings(records: Records, options: Options) -> None:
    """Record what is here, and the rates of a big product and of a copy."""
    records.measure("versions", 0, lambda: versions(options.device))
    records.measure("product", 10, lambda: _product(options))
    records.measure("copy", 10, lambda: _copy(options))


def versions(device: str) -> dict[str, Any]:
    """Return what the figures were taken with."""
    packages = ("transformers", "ctranslate2", "pydantic", "pyarrow", "nvidia-cublas-cu12")
    found: dict[str, Any] = {"python": platform.python_version(), "torch": torch.__version__}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    found |= {"commit": commit(), "date": time.strftime("%Y-%m-%d"), "device": device}
    if device == "cuda":
        card = torch.cuda.get_device_properties(0)
        found |= {"card": card.name, "memory_gigabytes": round(card.total_memory / 1e9)}
        found |= {"cuda": torch.version.cuda, "driver": _driver()}
    return found


def _driver() -> str | None:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.check_output(command, text=True, timeout=20).splitlines()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return None


def _product(options: Options) -> dict[str, float]:
    size = 256 if options.toy else 8192
    kind = torch.bfloat16 if options.device == "cuda" else torch.float32
    one, other = (torch.randn(size, size, device=options.device, dtype=kind) for _ in range(2))
    seconds = _seconds(lambda: torch.mm(one, other), options.device)
    return {"size": size, "teraflops": round(2 * size**3 / seconds / 1e12, 3)}


def _copy(options: Options) -> dict[str, float]:
    numbers = torch.randn(2**18 if options.toy else 2**28, device=options.device)
    to = torch.empty_like(numbers)
    seconds = _seconds(lambda: to.copy_(numbers), options.device)
    return {"gigabytes_per_second": round(2 * 4 * numbers.numel() / seconds / 1e9, 1)}


def _seconds(function: Callable[[], object], device: str) -> float:
    """Return the median over windows of ten calls each, after a warm-up."""
    times = []
    for _ in range(6):
        synchronize(device)
        began = time.perf_counter()
        for _ in range(10):
            function()
        synchronize(device)
        times.append((time.perf_counter() - began) / 10)
    return median(times[1:])


def training(records: Records, options: Options) -> None:
    """Time updates of the teachers beside Hugging Face's on the same batches."""
    for kind in KINDS:
        compiled = kind.endswith("compiled")
        for model, recipe in MODELS.items():
            made = cache(partial(_updater, kind, options, options.recipe(recipe)))
            for tokens, number in TOY_SETTINGS if options.toy else SETTINGS:
                what = f"{model}, {kind}, {tokens} x {number}"
                about = {"model": model, "kind": kind, "pieces": tokens, "batches": number}
                if kind.startswith("Hugging") and find_spec("transformers") is None:
                    records.add(what, **about, skipped="transformers is not installed")
                elif compiled and not options.compiled:
                    records.add(what, **about, skipped="asked for no compilation")
                else:
                    size = options.recipe(recipe).teacher_model
                    speed = partial(_speed, made, size, tokens, number, options)
                    records.measure(what, 45 if compiled else 12, lambda s=speed, a=about: a | s())
            del made  # and its model, before the next one comes


def _updater(kind: str, options: Options, recipe: Recipe) -> Update:
    torch.manual_seed(1)
    compiled = kind.endswith("compiled")
    if kind.startswith("Hugging"):
        return _hugging_face(recipe.teacher_model, options.device, compiled)
    world = World(device=torch.device(options.device))
    return updater(make_trainee(recipe, "teacher", world, compiled=compiled))


def updater(trainee: Trainee) -> Update:
    """Return what takes one of a trainee's updates; it returns the loss in nats per piece."""
    trainee.module.train()
    number = count(1)

    def update(batches: Sequence[Batch]) -> torch.Tensor:
        pieces = sum(map(target_pieces, batches))
        loss = trainee.backward(batches, 1 / pieces)
        trainee.step(next(number))
        return loss / pieces

    return update


def _hugging_face(model: ModelConfig, device: str, compiled: bool) -> Update:
    sys.path.append(str(Path(__file__).parents[1] / "frameworks"))
    import protocol
    from marian_worker import build_update

    threads = torch.get_num_threads()
    job = protocol.Job(model=model.model_dump(), batches="", device=device, threads=threads)
    _, update = build_update(job, compiled=compiled)

    def theirs(batches: Sequence[Batch]) -> torch.Tensor:
        return update(
            [
                protocol.Batch(one.source_BS, one.target_in_BT, one.target_BT, target_pieces(one))
                for one in batches
            ]
        )

    return theirs


def target_pieces(batch: Batch) -> int:
    """Return the pieces of a batch's targets, without padding."""
    return int((batch.target_BT != PAD).sum())


def _speed(
    made: Callable[[], Update], model: ModelConfig, tokens: int, number: int, options: Options
) -> dict[str, Any]:
    """Return target pieces and FLOP per second, the first update's seconds, and memory."""
    update, updates = made(), list(random_updates(model, tokens, number, UPDATES, options.device))
    figures = timed(update, updates, options.device)
    batches = [batch for one in updates for batch in one]
    pieces = sum(map(target_pieces, batches)) / UPDATES
    rate = pieces / figures["seconds"]
    flops = sum(map(partial(_flops, model), batches)) / UPDATES
    return figures | {
        "pieces_per_update": round(pieces),
        "pieces_per_second": round(rate),
        "teraflops": round(flops / figures["seconds"] / 1e12, 4),
    }


def random_updates(
    model: ModelConfig, tokens: int, number: int, updates: int, device: str
) -> Iterator[list[Batch]]:
    """Yield the batches of one update after another; for a card in memory that it reads fast."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "batches.npz"
        write_batches(path, model, tokens, number * updates)
        batches = read_batches(path)
    if device == "cuda":
        batches = [batch.pinned() for batch in batches]
    for start in range(0, len(batches), number):
        yield batches[start : start + number]


def timed(update: Update, updates: Sequence[Sequence[Batch]], device: str) -> dict[str, Any]:
    """Return the median seconds of an update, those of the first one, its loss, peak memory.

    Before the timing all have been taken once, so that nothing is left to be compiled.
    """
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    loss = update(updates[0])
    synchronize(device)
    first = time.perf_counter() - began
    for batches in updates[1:]:
        update(batches)
    windows = []
    for _ in range(WINDOWS):
        synchronize(device)
        began = time.perf_counter()
        for batches in updates:
            update(batches)
        synchronize(device)
        windows.append((time.perf_counter() - began) / len(updates))
    figures = {"seconds": round(median(windows), 5), "first_update": round(first, 2)}
    if device == "cuda":
        figures["peak_gigabytes"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
    return figures | {"first_loss": round(float(loss), 3)}


def _flops(model: ModelConfig, batch: Batch) -> float:
    """Return FLOPs of a batch forward and backward, padding apart."""
    sides = (batch.source_BS, encoder_flops), (batch.target_BT, decoder_flops)
    total = 0.0
    for ids, flops in sides:
        pieces = int((ids != PAD).sum())
        total += 3 * pieces * flops(model, round(pieces / len(ids)))
    return total


def phase_one(records: Records, options: Options) -> None:
    """Time phase 1 beside fine-tuning, as one worker of the recipe has them; compiled if it may."""
    for model, student in PAIRS:
        recipe = options.recipe(MODELS[model], student=student)
        number = max(1, recipe.fine_tuning.batches_per_update // max(1, recipe.ray.workers))
        seconds: dict[str, float] = {}
        for kind in ("fine_tuning", "generator"):
            taken = records.measure(
                f"{model} to {student}, {kind}", 20, partial(_phase, recipe, kind, number, options)
            )
            seconds |= {kind: taken["seconds"]} if taken else {}
        if len(seconds) == 2:
            ratio = round(seconds["generator"] / seconds["fine_tuning"], 3)
            about: Mapping[str, Any] = {"model": model, "student": student, "ratio": ratio}
            tokens = recipe.shards.batch_tokens
            records.add(f"{model} to {student}", **about, pieces=tokens, batches=number)


def _phase(recipe: Recipe, kind: str, number: int, options: Options) -> dict[str, Any]:
    torch.manual_seed(1)
    world = World(device=torch.device(options.device))
    update = updater(make_trainee(recipe, kind, world, compiled=options.compiled))
    model, tokens = recipe.student_model, recipe.shards.batch_tokens
    updates = list(random_updates(model, tokens, number, UPDATES, options.device))
    return timed(update, updates, options.device)
