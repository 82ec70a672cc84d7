"""Phase 1: train the parameter generator, and materialise the student that it makes."""

import shutil

from pipelines.context import Run, Work, asked_once
from pipelines.stages.distributions import student_inputs
from pipelines.stages.teacher import teacher
from pipelines.stages.training import train_model, training_identity, training_inputs
from wd.artifacts import Artifact, Metrics
from wd.generator.choices import check_generable
from wd.store.shelf import pull

VERSION = 8
"""Raise it when a default of `generator` changes, or what the same generator would give."""


@asked_once
def generator(run: Run) -> Artifact:
    """Return the generator's weights and, in `student/`, the model directory that it generates.

    Raises ConfigError for a student that cannot be generated.
    """
    recipe, model, config = run.recipe, run.recipe.student_model, run.recipe.generator
    check_generable(recipe.taught_by, model, config.grouping)
    inputs = {"teacher": teacher(run)} | training_inputs(run) | student_inputs(run)

    def build(work: Work) -> Metrics:
        from wd.generator.directory import save_generator
        from wd.training.diagnosis import FOLDER

        trained = train_model(
            run,
            work,
            inputs,
            name="generator",
            config=config.training,
            model=model,
            out=work.out / "student",
            teacher=inputs["teacher"].place,
            generator=config,
            objective=recipe.objective,
            grouping=config.grouping,
        )
        save_generator(work.out, trained.module, model, config, inputs["teacher"].name)
        shutil.copytree(pull(work.scratch / FOLDER), work.out / FOLDER)
        return trained.figures

    return run.stage(
        "generator",
        version=VERSION,
        label=f"{recipe.name}-{recipe.student}",
        config={
            "model": model,
            "generator": config.without("training"),
            "objective": recipe.objective,
            **training_identity(config.training),
        },
        inputs=inputs,
        build=build,
    )
