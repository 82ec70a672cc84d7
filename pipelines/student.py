"""Phase 2: fine-tune a student. Its start tells WD from the baselines of equal size and updates."""

from pathlib import Path

from pipelines.cli import main
from pipelines.context import Run, Work
from pipelines.generator import generator
from pipelines.teacher import teacher
from pipelines.training import VERSION, train_model, training_identity, training_inputs
from wd.artifacts import Artifact, Metrics
from wd.config import Init, ModelConfig, Recipe

LABELS: dict[Init, str] = {"random": "kd", "copy": "copy", "generated": "wd"}


def student(run: Run, init: Init = "generated") -> Artifact:
    """Return a student's model directory.

    `random` makes the KD student, `copy` starts from the teacher's layers, `generated` from what
    phase 1 produced. All train on original and pseudo pairs, with equal updates in total.
    """
    recipe, model = run.recipe, run.recipe.student_model
    config = recipe.student_training(init)
    inputs = training_inputs(run, pseudo=True)
    if init == "copy":
        inputs["teacher"] = teacher(run)
    if init == "generated":
        inputs["generator"] = generator(run)

    def build(work: Work) -> Metrics:
        start: Path | None = None
        if init == "copy":
            start = _copied(recipe, model, inputs["teacher"], work.scratch)
        if init == "generated":
            start = inputs["generator"].path / "student" / "model.safetensors"
        return train_model(
            run,
            work,
            inputs,
            name=f"{LABELS[init]} student",
            config=config,
            model=model,
            out=work.out,
            start=start,
        ).figures

    return run.stage(
        "student",
        version=VERSION,
        label=f"{recipe.name}-{recipe.student}-{LABELS[init]}",
        config={
            "model": model,
            "init": init,
            "grouping": recipe.generator.grouping if init == "copy" else {},
            "training": training_identity(config),
        },
        inputs=inputs,
        build=build,
    )


def _copied(recipe: Recipe, model: ModelConfig, teacher: Artifact, folder: Path) -> Path:
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
    save_weights(start, copied_weights(config, model, weights, fresh, grouping))
    return start


if __name__ == "__main__":
    main("student")
