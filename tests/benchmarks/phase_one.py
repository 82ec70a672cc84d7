"""What a generator step costs beside the same student's fine-tuning step, and a naive generator's.

    python tests/benchmarks/phase_one.py wmt14-ende-base --student tiny --tokens 4096

All take the same batches, in turn, after a warm-up, each kind in a process of its own: phase 1 and
fine-tuning through the real training code, and a generator that makes every instance on its own,
in the paper's order of steps, at every forward pass. The last lines are JSON, one per student:
median seconds per optimiser step, peak memory, and the median ratio to fine-tuning's step of the
same turn, which a machine that slows down for a while moves least.
"""

import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer
from torch import Tensor, nn
from torch.func import functional_call

from pipelines.commands.options import Overrides, RecipeArgument
from pipelines.commands.recipe_arguments import read_recipe
from wd.config import Recipe, overridden
from wd.data.batches import Batch
from wd.generator.generator import ParameterGenerator
from wd.generator.grouping import subset_bounds
from wd.generator.initialisation import gate, shift
from wd.model.transformer import Transformer
from wd.training.generator_trainee import GeneratorTrainee
from wd.training.loss import cross_entropy
from wd.training.objective import Objective
from wd.training.trainee import ModelTrainee, Trainee
from wd.training.world import World

KINDS = ("fine_tuning", "generator", "naive")


def bench(
    recipe: RecipeArgument = "wmt14-ende-base",
    overrides: Overrides = None,
    student: Annotated[list[str] | None, typer.Option(help="Repeatable; default: all.")] = None,
    tokens: Annotated[int, typer.Option(help="Target tokens per optimiser step.")] = 4096,
    length: Annotated[int, typer.Option(help="Pieces per sentence, both sides.")] = 32,
    batches: Annotated[int, typer.Option(help="Batches that the tokens are split into.")] = 1,
    steps: Annotated[int, typer.Option(help="Timed steps of each kind.")] = 5,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Time phase 1, as it is and naively, against fine-tuning."""
    base = read_recipe(recipe, overrides or ())
    text = (max(1, tokens // batches // length), length, batches)
    told = []
    for name in student or sorted(base.students):
        settings = overridden(base, {"student": name})
        figures = _compare(settings, text, steps, device)
        run = {"recipe": settings.name, "student": name, "device": device}
        told.append(run | {"tokens": tokens, "batches": batches} | figures)
    for figures in told:
        print(json.dumps(figures))


def _compare(
    recipe: Recipe, text: tuple[int, int, int], steps: int, device: str
) -> dict[str, Mapping[str, float]]:
    """Return median seconds, ratios to fine-tuning and peak memory of every kind."""
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with ExitStack() as stack:
        runs = {
            kind: stack.enter_context(
                ProcessPoolExecutor(1, get_context("spawn"), _begin, (recipe, kind, text, device))
            )
            for kind in KINDS
        }
        for step in range(steps + 2):
            for kind, run in runs.items():
                took = run.submit(_timed_step).result()
                if step > 1:  # the first two are the warm-up
                    seconds[kind].append(took)
                print(f"{recipe.student:8}step {step:3}  {kind:12}{took:8.3f} s", flush=True)
        memory = {kind: run.submit(_peak_megabytes).result() for kind, run in runs.items()}
    turns = {kind: zip(seconds[kind], seconds["fine_tuning"], strict=True) for kind in KINDS[1:]}
    return {
        "seconds": {kind: round(median(times), 4) for kind, times in seconds.items()},
        "ratio": {
            kind: round(median(one / other for one, other in pairs), 3)
            for kind, pairs in turns.items()
        },
        "peak_megabytes": memory,
    }


class NaiveGenerator(nn.Module):
    """Makes every instance on its own, the layer map last, and has W and B for each.

    Its maps are those of the generator that it is compared with.
    """

    def __init__(
        self, generator: ParameterGenerator, weights: Mapping[str, Tensor], start: str
    ) -> None:
        super().__init__()
        self.student, self.classes = generator.student, generator.classes
        self.maps = generator.maps
        for each in self.classes:
            instances = torch.stack([weights[name] for name in each.teacher])
            self.register_buffer(each.key, instances, persistent=False)
        with torch.no_grad():
            made = [t for _, t in self._instances()]
            self.gates = nn.ParameterList(gate(t, start) for t in made)
            self.shifts = nn.ParameterList(shift(t, start) for t in made)

    def materialize(self) -> dict[str, Tensor]:
        """See `ParameterGenerator.materialize`."""
        made = zip(self._instances(), self.gates, self.shifts, strict=True)
        return {name: t.tanh() * w + b for (name, t), w, b in made}

    def _instances(self) -> Iterator[tuple[str, Tensor]]:
        """Yield each student instance's name and T."""
        both = self.maps.by_key()
        shared_by_none = any(len(width) > 1 for width in both.exact.widths.values())
        for each in self.classes:
            keys = self.maps.keys[each.name]
            maps = both.exact if len(each.axes) == 1 else both.rounded
            for subset, (first, end) in enumerate(subset_bounds(each.subsets)):
                stacked, copy = [], subset if shared_by_none else 0
                for t in getattr(self, each.key)[first:end]:
                    if keys.input is not None:
                        t = t @ maps.widths[keys.input][copy]
                    if keys.output is not None:
                        t = maps.widths[keys.output][copy].T @ t
                    stacked.append(t)
                if keys.layer is None:
                    (t,) = stacked
                else:
                    t = torch.stack(stacked, -1) @ maps.layers[keys.layer][subset, first:end]
                yield each.student[subset], t


class NaiveTrainee(GeneratorTrainee):
    """Generates anew at every forward pass."""

    def backward(self, batches: Sequence[Batch], scale: float) -> Tensor:
        """See `Trainee.backward`."""
        total = torch.zeros((), device=self._device)
        for batch in batches:
            batch = batch.to(self._device)
            inputs = (batch.source_BS, batch.target_in_BT)
            with self.autocast():
                logits = functional_call(self._student, self.module.materialize(), inputs)
                loss = cross_entropy(logits, batch.target_BT, self._config.label_smoothing)
            (loss * scale).backward()
            total += loss.detach()
        return total


_step: Callable[[], None]
"""What this process times."""


def _begin(recipe: Recipe, kind: str, text: tuple[int, int, int], device: str) -> None:
    """Make `_step`, an optimiser step of a kind."""
    torch.manual_seed(1)
    world = World(device=torch.device(device))
    sentences, length, count = text
    shape = (3, sentences, length)
    batches = [
        Batch(*torch.randint(4, recipe.tokenizer.vocabulary_size, shape)) for _ in range(count)
    ]
    trainee = make_trainee(recipe, kind, world)
    trainee.module.train()
    update = itertools.count(1)

    def step() -> None:
        trainee.backward(batches, 1 / (sentences * length * count))
        trainee.step(next(update))
        if device == "cuda":
            torch.cuda.synchronize()

    global _step
    _step = step


def _timed_step() -> float:
    began = time.perf_counter()
    _step()
    return time.perf_counter() - began


def _peak_megabytes() -> int:
    """Return this process's peak of resident memory (CPU) or of allocated memory (CUDA)."""
    if torch.cuda.is_initialized():
        return round(torch.cuda.max_memory_allocated() / 1e6)
    # Linux: `getrusage` would begin with the peak of the process that started this one.
    status = Path("/proc/self/status").read_text("utf-8")
    return round(int(status.partition("VmHWM:")[2].split()[0]) / 1e3)


def make_trainee(recipe: Recipe, kind: str, world: World, *, compiled: bool = False) -> Trainee:
    """Return what trains: of `KINDS`, or the teacher; `compiled` stands for the recipe's key."""
    models = {
        "teacher": (recipe.teacher_model, recipe.teacher.training),
        "fine_tuning": (recipe.student_model, recipe.fine_tuning),
    }
    model, config = models.get(kind, (recipe.student_model, recipe.generator.training))
    config = config.model_copy(update={"compile": compiled})
    objective = Objective(config.label_smoothing, compiled=compiled)
    if kind in models:
        return ModelTrainee(Transformer(model, config.dropout), config, objective, world)
    weights = Transformer(recipe.teacher_model).state_dict()
    teacher, student = recipe.teacher_model, recipe.student_model
    generator = ParameterGenerator(teacher, student, weights, recipe.generator)
    if kind == "naive":
        naive = NaiveGenerator(generator, weights, recipe.generator.initialisation.gate)
        return NaiveTrainee(naive, config, objective, world)
    return GeneratorTrainee(generator, config, objective, world)


if __name__ == "__main__":
    typer.run(bench)
