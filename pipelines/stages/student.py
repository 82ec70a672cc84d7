"""Phase 2: fine-tune a student. Its start tells WD from the baselines of equal size and updates."""

from pipelines.context import Run, Work, asked_once
from pipelines.stages.distributions import student_inputs
from pipelines.stages.generator import generator
from pipelines.stages.teacher import teacher
from pipelines.stages.training import train_model, training_identity, training_inputs
from wd.artifacts import Artifact, Metrics
from wd.config import Method, ModelConfig, ObjectiveConfig, Recipe
from wd.generator.choices import check_generable
from wd.generator.grouping import stack_subsets
from wd.places import Place
from wd.store.shelf import here, push

VERSION = 1
"""Raise it when the same start or data would give another student; the loop has its own."""


@asked_once
def student(run: Run, method: Method) -> Artifact:
    """Return a student's model directory.

    `scratch` and `kd` start at random, `copy` from the teacher's layers, `wd` from what phase 1
    produced. All but `scratch` train on original and pseudo pairs; all get equal updates in total.
    Raises ConfigError as `check_possible` does.
    """
    recipe, model = run.recipe, run.recipe.student_model
    objective = ObjectiveConfig() if method == "scratch" else recipe.objective
    config, grouping = recipe.student_training(method), recipe.generator.grouping
    check_possible(recipe, method)
    inputs = training_inputs(run)
    if method != "scratch":
        inputs |= student_inputs(run)
    beside = method != "scratch" and recipe.runs_teacher
    if method == "copy" or beside:
        inputs["teacher"] = teacher(run)
    if method == "wd":
        inputs["generator"] = generator(run)

    def build(work: Work) -> Metrics:
        return train_model(
            run,
            work,
            inputs,
            name=f"{method} student",
            config=config,
            model=model,
            out=work.out,
            start=_start(recipe, model, method, inputs, work.scratch),
            teacher=inputs["teacher"].place if beside else None,
            objective=objective,
            grouping=grouping,
        ).figures

    return run.stage(
        "student",
        version=VERSION,
        label=f"{recipe.name}-{recipe.student}-{method}",
        config={
            "model": model,
            "method": method,
            "grouping": grouping if "teacher" in inputs else {},
            "objective": objective,
            **training_identity(config),
        },
        inputs=inputs,
        build=build,
    )


def check_possible(recipe: Recipe, method: Method) -> None:
    """Raise ConfigError, before hours go into a teacher, if a student cannot be made so."""
    of = recipe.taught_by, recipe.student_model, recipe.generator.grouping
    if method in ("copy", "wd"):
        check_generable(*of)
    elif method == "kd" and recipe.objective.hidden_states:
        stack_subsets(*of)


def _start(
    recipe: Recipe, model: ModelConfig, method: Method, inputs: dict[str, Artifact], folder: Place
) -> Place | None:
    """Return the file of the weights to start from; None: at random."""
    if method == "copy":
        return _copied(recipe, model, inputs["teacher"], folder)
    if method == "wd":
        from wd.model.directory import WEIGHTS

        return inputs["generator"] / "student" / WEIGHTS
    return None


def _copied(recipe: Recipe, model: ModelConfig, teacher: Artifact, folder: Place) -> Place:
    """Write the layer-copy start and return its file."""
    import torch

    from wd.generator.layer_copy import copied_weights
    from wd.model.directory import load_model, save_weights
    from wd.model.transformer import Transformer

    torch.manual_seed(recipe.student_training("copy").seed)
    fresh = Transformer(model).state_dict()
    config, weights = load_model(teacher.path)
    start = folder / "start.safetensors"
    grouping = recipe.generator.grouping
    save_weights(here(start), copied_weights(config, model, weights, fresh, grouping))
    push(start)
    return start
