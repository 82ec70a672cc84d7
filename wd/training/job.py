"""One training run as plain data, and how any worker carries it out."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wd.config import (
    GeneratorConfig,
    GroupingConfig,
    ModelConfig,
    ObjectiveConfig,
    TrainingConfig,
)
from wd.data.batches import ShardReader
from wd.generator.generator import ParameterGenerator
from wd.model.directory import load_model, load_transformer, load_weights, save_weights
from wd.model.transformer import Transformer
from wd.tracking import TrackerHandle, attach
from wd.training.checkpoint import CheckpointFolder
from wd.training.diagnosis import diagnose
from wd.training.loop import Hooks, train
from wd.training.objective import Guide, Objective
from wd.training.trainee import GeneratorTrainee, ModelTrainee, Trainee, mean_state
from wd.training.validation import HeldOut, validate
from wd.training.world import World

TOLD = {"phase", "update"}
"""What a validation's figures are about, beside the figures."""
OnValidation = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """What to train; a worker process needs nothing else."""

    name: str
    """For progress lines: teacher, generator or student."""
    config: TrainingConfig
    model: ModelConfig
    """The translation model that is trained or generated."""
    train: tuple[Path, ...]
    """Shard folders, read as one."""
    held_out: HeldOut
    scratch: Path
    """Checkpoints and the result; the same folder goes on where it stopped."""
    start: Path | None = None
    """Weights to start from; default: random."""
    teacher: Path | None = None
    """Its model directory, where the generator or the objective needs one."""
    generator: GeneratorConfig | None = None
    """Phase 1: how to generate."""
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    grouping: GroupingConfig = field(default_factory=GroupingConfig)
    """Which teacher layers the objective compares with the student's."""
    tracker: TrackerHandle | None = None


@dataclass(frozen=True)
class Trained:
    """A finished run's files, below the job's scratch folder."""

    folder: Path
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def weights(self) -> dict[str, Tensor]:
        """The translation model's weights."""
        return load_weights(self.folder / "weights.safetensors")

    @property
    def module(self) -> dict[str, Tensor]:
        """The trained module's: the generator's in phase 1, else the same weights."""
        return load_weights(self.folder / "module.safetensors")


def result_of(job: TrainingJob) -> Trained | None:
    """Return what a finished job left, None while it is not finished."""
    folder = job.scratch / "result"
    if not folder.is_dir():
        return None
    return Trained(folder, json.loads((folder / "figures.json").read_text("utf-8")))


def run_job(job: TrainingJob, world: World, on_validation: OnValidation) -> None:
    """Train, average the last checkpoints if that validates better, and leave the result.

    `on_validation` is called on every worker; only rank 0 gets figures, the others {}.
    """
    trainee = _trainee(job, world)
    checkpoints = CheckpointFolder(job.scratch / "checkpoints", job.config.average_last)
    tracker = attach(job.tracker if world.rank == 0 else None)

    def check(update: int) -> dict[str, Any]:
        if world.rank:
            on_validation({})
            return {}
        figures = validate(
            job.model, trainee.weights(), job.held_out, job.config.bleu_sentences, world.device
        )
        _say(job.name, f"update {update}: validation " + _listed(figures))
        tracker.log_metrics({"validation": figures}, step=update)
        if isinstance(trainee, GeneratorTrainee):
            diagnose(trainee, tracker, job.scratch, update)
        told: dict[str, Any] = {"phase": job.name, "update": update, **figures}
        on_validation(told)
        return told

    def progress(figures: dict[str, float]) -> None:
        if world.rank == 0:
            tracker.log_metrics({"training": figures}, step=int(figures["update"]))
            _say(job.name, _progress_line(figures, job.config.updates))

    started = time.monotonic()
    hooks = Hooks(validate=check, progress=progress)
    reader = ShardReader(job.train)
    history = train(trainee, reader, job.config, checkpoints, hooks, world)
    if world.rank == 0:
        seconds = time.monotonic() - started
        figures = _pick(job, trainee, checkpoints, history[-1], world)
        figures |= {"history": history, "training_seconds": seconds}
        _leave_result(job, trainee, figures)


def _pick(
    job: TrainingJob,
    trainee: Trainee,
    checkpoints: CheckpointFolder,
    last: dict[str, Any],
    world: World,
) -> dict[str, Any]:
    """Load the last weights or the mean of the last ones, whichever validates better; tell which.

    `last` holds the last weights' figures.
    """
    told = {"published": "last", "validation": {name: last[name] for name in last.keys() - TOLD}}
    states = checkpoints.last_weights()
    trainee.module.load_state_dict(mean_state(states))
    figures = validate(
        job.model, trainee.weights(), job.held_out, job.config.bleu_sentences, world.device
    )
    _say(job.name, f"average of {len(states)} checkpoints: {_listed(figures)}")
    if figures["loss"] < last["loss"]:
        return {"published": "average", "validation": figures}
    trainee.module.load_state_dict(states[-1])
    return told


def _leave_result(job: TrainingJob, trainee: Trainee, figures: dict[str, Any]) -> None:
    partial = job.scratch / ".result.partial"
    partial.mkdir(parents=True, exist_ok=True)
    save_weights(partial / "weights.safetensors", trainee.weights())
    save_weights(partial / "module.safetensors", trainee.module.state_dict())
    (partial / "figures.json").write_text(json.dumps(figures), "utf-8")
    partial.rename(job.scratch / "result")


def _trainee(job: TrainingJob, world: World) -> Trainee:
    torch.manual_seed(job.config.seed)
    if job.generator is not None:
        assert job.teacher is not None
        teacher, weights = load_model(job.teacher)
        generator = ParameterGenerator(teacher, job.model, weights, job.generator)
        return GeneratorTrainee(generator, job.config, _objective(job, world), world)
    model = Transformer(job.model, job.config.dropout)
    if job.start is not None:
        model.load_state_dict(load_weights(job.start))
    return ModelTrainee(model, job.config, _objective(job, world), world)


def _objective(job: TrainingJob, world: World) -> Objective:
    guide = None
    if job.objective.needs_teacher:
        assert job.teacher is not None
        teacher = load_transformer(job.teacher).to(world.device)
        guide = Guide(teacher, job.model, job.objective, job.grouping)
    return Objective(job.config.label_smoothing, guide)


def _progress_line(figures: dict[str, float], updates: int) -> str:
    left = timedelta(seconds=round(figures["seconds_left"]))
    return (
        f"update {figures['update']:.0f} of {updates}, loss {figures['loss']:.3f}, "
        f"{figures['tokens_per_second']:,.0f} target tokens/s, {left} left"
    )


def _listed(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in figures.items())


def _say(name: str, line: str) -> None:
    # Standard output is the commands': `--json` prints one line there.
    print(f"{name}: {line}", file=sys.stderr, flush=True)
