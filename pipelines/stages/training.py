"""What the three training stages share: a job's data, and a trained model as an artifact."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.context import Run, Work
from pipelines.stages.corpus import corpus
from pipelines.stages.shards import shards
from pipelines.stages.tokenizer import tokenizer
from wd.artifacts import Artifact
from wd.config import ModelConfig, TrainingConfig
from wd.training import LOOP_VERSION, WITHOUT_EFFECT

WORDS = {"shards": "words", "pseudo_shards": "pseudo_words"}
"""The role of batches -> that of the word distributions that are stored of them."""

if TYPE_CHECKING:  # torch is imported where a stage does its work
    from wd.training.job import Trained


def training_inputs(run: Run) -> dict[str, Artifact]:
    """Return the artifacts that every training run reads, by role."""
    return {"corpus": corpus(run), "tokenizer": tokenizer(run), "shards": shards(run)}


def training_identity(config: TrainingConfig) -> dict[str, Any]:
    """Return what training adds to a stage's identity: what changes its result."""
    return {"loop": LOOP_VERSION, "training": config.without(*WITHOUT_EFFECT)}


def train_model(
    run: Run,
    work: Work,
    inputs: dict[str, Artifact],
    *,
    name: str,
    config: TrainingConfig,
    model: ModelConfig,
    out: Path,
    **start: Any,
) -> "Trained":
    """Train, write the model directory `out`, and return what the run left.

    `start` holds the job's fields that differ between phases: start, teacher, generator,
    objective, grouping.
    """
    from wd.distributed.train import fit
    from wd.model.directory import save_model
    from wd.training.job import TrainingJob
    from wd.training.validation import HeldOut

    roles = [role for role in ("shards", "pseudo_shards") if role in inputs]
    job = TrainingJob(
        name=name,
        config=config,
        model=model,
        train=tuple(inputs[role] / "train" for role in roles),
        words=tuple(inputs[WORDS[role]] / "train" for role in roles if WORDS[role] in inputs),
        held_out=HeldOut(
            shards=inputs["shards"] / "valid",
            corpus=inputs["corpus"] / "valid",
            tokenizer=inputs["tokenizer"].place,
            language=run.recipe.target_language,
        ),
        scratch=work.scratch,
        tracker=work.tracker.handle(),
        **start,
    )
    trained = fit(job, run.recipe.ray, run.on_validation)
    save_model(out, model, trained.weights, inputs["tokenizer"].path)
    return trained
