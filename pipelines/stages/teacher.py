"""Train the teacher on the original pairs, or take one that a recipe brings along."""

from pipelines.context import Run, Work, asked_once
from pipelines.stages.imported import imported_teacher
from pipelines.stages.training import train_model, training_identity, training_inputs
from wd.artifacts import Artifact, Metrics

VERSION = 1


@asked_once
def teacher(run: Run) -> Artifact:
    """Return the teacher's model directory; on the way `via` others, that of the student before."""
    if run.recipe.via:
        assert run.taught is not None, "made by hops.open_run"
        return run.taught(run)
    if run.recipe.teacher.source is not None:
        return imported_teacher(run)
    recipe, model = run.recipe, run.recipe.teacher_model
    inputs = training_inputs(run)

    def build(work: Work) -> Metrics:
        config = recipe.teacher.training
        return train_model(
            run, work, inputs, name="teacher", config=config, model=model, out=work.out
        ).figures

    return run.stage(
        "teacher",
        version=VERSION,
        config={"model": model, **training_identity(recipe.teacher.training)},
        inputs=inputs,
        build=build,
    )
