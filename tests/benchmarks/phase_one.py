"""What a generator step costs beside the same student's fine-tuning step.

    python tests/benchmarks/phase_one.py wmt14-ende-base student=tiny --tokens 4096

Both take the same batches through the real training code, in turn, after a warm-up. The last
line is JSON: median seconds per optimiser step of each, and their ratio.
"""

import json
import time
from collections.abc import Callable
from statistics import median
from typing import Annotated

import torch
import typer

from pipelines.options import Overrides, RecipeArgument
from pipelines.recipe_arguments import read_recipe
from wd.config import Recipe
from wd.data.batches import Batch
from wd.generator import ParameterGenerator
from wd.model.transformer import Transformer
from wd.training.objective import Objective
from wd.training.trainee import GeneratorTrainee, ModelTrainee, Trainee
from wd.training.world import World


def bench(
    recipe: RecipeArgument = "wmt14-ende-base",
    overrides: Overrides = None,
    tokens: Annotated[int, typer.Option(help="Target tokens per optimiser step.")] = 4096,
    length: Annotated[int, typer.Option(help="Pieces per sentence, both sides.")] = 32,
    batches: Annotated[int, typer.Option(help="Batches that the tokens are split into.")] = 1,
    steps: Annotated[int, typer.Option(help="Timed steps of each kind.")] = 5,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Time phase 1 against fine-tuning."""
    settings = read_recipe(recipe, overrides or ())
    world = World(device=torch.device(device))
    torch.manual_seed(1)
    text = [_batch(settings, max(1, tokens // batches // length), length) for _ in range(batches)]
    scale = 1 / tokens
    runs = {
        "generator": _stepper(_generator(settings, world), text, scale),
        "fine_tuning": _stepper(_student(settings, world), text, scale),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for step in range(steps + 1):
        for name, run in runs.items():
            took = _timed(run, world)
            if step:  # the first is the warm-up
                seconds[name].append(took)
            print(f"step {step}  {name:12}{took:8.3f} s", flush=True)
    medians = {name: round(median(times), 4) for name, times in seconds.items()}
    ratio = round(medians["generator"] / medians["fine_tuning"], 3)
    told = {"recipe": settings.name, "student": settings.student, "device": device}
    print(json.dumps({**told, "tokens": tokens, "batches": batches, **medians, "ratio": ratio}))


def _batch(recipe: Recipe, sentences: int, length: int) -> Batch:
    ids = torch.randint(4, recipe.tokenizer.vocabulary_size, (3, sentences, length))
    return Batch(*ids)


def _generator(recipe: Recipe, world: World) -> GeneratorTrainee:
    teacher = Transformer(recipe.teacher_model).state_dict()
    generator = ParameterGenerator(
        recipe.teacher_model, recipe.student_model, teacher, recipe.generator
    )
    config = recipe.generator.training
    return GeneratorTrainee(generator, config, Objective(config.label_smoothing), world)


def _student(recipe: Recipe, world: World) -> ModelTrainee:
    config = recipe.fine_tuning
    student = Transformer(recipe.student_model, config.dropout)
    return ModelTrainee(student, config, Objective(config.label_smoothing), world)


def _stepper(trainee: Trainee, text: list[Batch], scale: float) -> Callable[[], None]:
    trainee.module.train()

    def step() -> None:
        trainee.backward(text, scale)
        trainee.optimizer.step()
        trainee.optimizer.zero_grad(set_to_none=True)

    return step


def _timed(step: Callable[[], None], world: World) -> float:
    began = time.perf_counter()
    step()
    if world.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


if __name__ == "__main__":
    typer.run(bench)
