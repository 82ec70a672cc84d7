"""How a worker talks with `frameworks.py`: JSON lines over standard input and output.

A worker is `python WORKER.py JOB`. It says how many parameters its model has once that is built;
then each line `{"steps": N}` makes it train N steps and say how long they took. It runs in its
framework's own environment, so this module imports nothing but numpy and torch.

Shapes: B sentences, S source and T target positions.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from resource import RUSAGE_SELF, getrusage
from typing import Any, TextIO

import numpy as np
import torch
from torch import Tensor, nn

PAD, UNK, BOS, EOS = range(4)
LEARNING_RATE = 3e-4
ADAM_BETAS = (0.9, 0.98)
ADAM_EPSILON = 1e-9
DROPOUT = 0.1
LABEL_SMOOTHING = 0.1


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker is to train."""

    model: dict[str, Any]
    """A `wd.config.ModelConfig` as JSON."""
    batches: str
    """An .npz file; see `random_batches.write_batches`."""
    device: str
    threads: int

    def autocast(self) -> torch.autocast:
        """Return the context of a forward pass: bfloat16 on CUDA, float32 on the CPU."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda")


@dataclass(frozen=True)
class Batch:
    """Piece ids on the CPU, int64, PAD behind each sequence."""

    source_BS: Tensor
    target_in_BT: Tensor
    target_BT: Tensor
    tokens: int
    """Pieces of the target, without padding."""


Step = Callable[[Batch], Tensor | float]
"""Takes one optimiser step; returns the loss in nats per target piece."""
Build = Callable[[Job], tuple[nn.Module, Step]]


def serve(build: Build) -> None:
    """Build the model of the job on the command line, then train as standard input says."""
    job = Job(**json.loads(sys.argv[1]))
    answers = _take_standard_output()
    torch.set_num_threads(job.threads)
    torch.manual_seed(1)
    batches = _read_batches(job.batches)
    module, step = build(job)
    learned = [each.numel() for each in module.parameters() if each.requires_grad]
    print(json.dumps({"parameters": sum(learned), "torch": torch.__version__}), file=answers)
    done = 0
    for line in sys.stdin:
        steps = json.loads(line)["steps"]
        losses: list[Tensor | float] = []
        began = time.perf_counter()
        for index in range(done, done + steps):
            losses.append(step(batches[index % len(batches)]))
        _synchronize(job.device)
        seconds = time.perf_counter() - began
        done += steps
        told = {"seconds": seconds, "first": float(losses[0]), "last": float(losses[-1])}
        print(json.dumps(told | {"peak_megabytes": _peak_megabytes(job.device)}), file=answers)


def _take_standard_output() -> TextIO:
    """Keep standard output for the answers; what a library prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return answers


def _read_batches(path: str) -> list[Batch]:
    with np.load(path) as file:
        names = ("source", "target_in", "target")
        count = len(file.files) // len(names)
        return [_batch(*(file[f"{name}_{index}"] for name in names)) for index in range(count)]


def _batch(*arrays: np.ndarray[Any, Any]) -> Batch:
    source_BS, target_in_BT, target_BT = map(torch.from_numpy, arrays)
    return Batch(source_BS, target_in_BT, target_BT, int((target_BT != PAD).sum()))


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _peak_megabytes(device: str) -> int:
    """Return this process's peak of resident memory (CPU) or of allocated memory (CUDA)."""
    if device == "cuda":
        return round(torch.cuda.max_memory_allocated() / 1e6)
    return round(getrusage(RUSAGE_SELF).ru_maxrss / 1e3)
