"""How any worker carries a training job out."""

from collections.abc import Callable
from pathlib import Path

import torch

from wd.data.batches import ShardReader
from wd.generator.generator import ParameterGenerator
from wd.model.directory import load_model, load_transformer, load_weights
from wd.model.transformer import Transformer
from wd.store.shelf import here, push
from wd.tracking import attach, beside
from wd.training.checkpoint import CheckpointFolder
from wd.training.determinism import reproducible
from wd.training.diagnosis import FOLDER as PICTURES
from wd.training.diagnosis import draw
from wd.training.generator_trainee import GeneratorTrainee
from wd.training.job import TrainingJob, leave_result
from wd.training.loop import Hooks, Wish, go_on, train
from wd.training.objective import Guide, Objective, StoredGuide
from wd.training.out_of_memory import memory_explained
from wd.training.publication import load_best
from wd.training.reporter import OnValidation, Reporter
from wd.training.sharding import is_sharded, shard
from wd.training.trainee import ModelTrainee, Trainee
from wd.training.world import World


def run_job(
    job: TrainingJob,
    world: World,
    on_validation: OnValidation,
    wish: Callable[[], Wish] = go_on,
) -> None:
    """Train, choose the weights that validate best, and leave the result.

    `on_validation` is called on every worker; only rank 0 gets figures, the others {}. `wish` is
    the loop's hook. Raises ArtifactError if the scratch folder is another job's, and what the loop
    raises.
    """
    with (
        reproducible(job.config, world.device),
        memory_explained(job.config, world),
        beside(attach(job.tracker if world.rank == 0 else None)) as tracker,
    ):
        trainee, reader = make_trainee(job, world), ShardReader(job.train, job.words)
        reporter = Reporter(job, trainee, world, tracker, on_validation)
        checkpoints = CheckpointFolder(job.scratch / "checkpoints", job.fingerprint())
        hooks = Hooks(
            validate=reporter.validate,
            progress=reporter.progress,
            compiled=reporter.compiled,
            resumed=reporter.resumed,
            wish=wish,
        )
        done = train(trainee, reader, job.config, checkpoints, hooks, world)
        trainee.gather()
        if world.rank:
            return
        figures = load_best(trainee, job.config, checkpoints, done.history, reporter)
        if isinstance(trainee, GeneratorTrainee):  # the pictures are of what is published
            draw(trainee.module, here(job.scratch))
            push(job.scratch / PICTURES)
        figures |= {"history": done.history, "training_seconds": done.seconds}
        figures["tokens_per_second"] = reporter.tokens_per_second
        leave_result(job, trainee.published(), trainee.module.state_dict(), figures)


def make_trainee(job: TrainingJob, world: World) -> Trainee:
    """Return what a job trains, as it is before the first update."""
    torch.manual_seed(job.config.seed)
    if job.generator is not None:
        assert job.teacher is not None
        teacher, weights = load_model(Path(job.teacher))
        generator = ParameterGenerator(teacher, job.model, weights, job.generator)
        return GeneratorTrainee(generator, job.config, _objective(job, world), world)
    model = Transformer(job.model, job.config.dropout)
    if job.start is not None:
        model.load_state_dict(load_weights(Path(job.start)))
    if is_sharded(job.config, world):
        shard(model, world)
    return ModelTrainee(model, job.config, _objective(job, world), world)


def _objective(job: TrainingJob, world: World) -> Objective:
    guide: Guide | StoredGuide | None = None
    if job.words:
        guide = StoredGuide(job.objective)
    elif job.objective.needs_teacher:
        assert job.teacher is not None
        teacher = load_transformer(Path(job.teacher)).requires_grad_(False)
        if is_sharded(job.config, world):
            shard(teacher, world)
        guide = Guide(teacher.to(world.device), job.model, job.objective, job.grouping)
    return Objective(job.config.label_smoothing, guide, job.config.compile)
