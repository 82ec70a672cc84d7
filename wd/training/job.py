"""One training run as plain data, and how any worker carries it out."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from statistics import median
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
from wd.data.schema import part_files
from wd.generator.generator import ParameterGenerator
from wd.manifest import digests
from wd.model.directory import WEIGHTS, load_model, load_transformer, load_weights, save_weights
from wd.model.transformer import Transformer
from wd.tracking import Beside, TrackerHandle, attach, beside
from wd.training.averaging import mean_state
from wd.training.checkpoint import CheckpointFolder
from wd.training.diagnosis import diagnose, draw
from wd.training.loop import Hooks, Wish, go_on, train
from wd.training.objective import Guide, Objective
from wd.training.selection import best_updates, last_updates, merit
from wd.training.trainee import GeneratorTrainee, ModelTrainee, Trainee
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

    def fingerprint(self) -> str:
        """Return a hash of what is trained, how, from which weights, on which data and pieces.

        Files count by their bytes, wherever they lie. A job with another hash has other results.
        """
        config = self.config.without("log_every", "max_skipped")
        configs = [config, self.model, self.objective, self.grouping, self.generator]
        files = {
            "start": [self.start] if self.start else [],
            "teacher": [self.teacher / WEIGHTS] if self.teacher else [],
            "train": [part for folder in self.train for part in part_files(folder)],
            "held-out batches": part_files(self.held_out.shards),
            "held-out text": part_files(self.held_out.corpus),
            "tokenizer": sorted(self.held_out.tokenizer.glob("*.model")),
        }
        facts = {
            "configs": [each and each.model_dump(mode="json") for each in configs],
            "files": {role: digests(paths) for role, paths in files.items()},
            "language": self.held_out.language,
        }
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


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


def run_job(
    job: TrainingJob,
    world: World,
    on_validation: OnValidation,
    wish: Callable[[], Wish] = go_on,
) -> None:
    """Train, choose the weights that validate best, and leave the result.

    `on_validation` is called on every worker; only rank 0 gets figures, the others {}. `wish` is
    the loop's hook.
    """
    with beside(attach(job.tracker if world.rank == 0 else None)) as tracker:
        _run(job, world, on_validation, wish, tracker)


def _run(
    job: TrainingJob,
    world: World,
    on_validation: OnValidation,
    wish: Callable[[], Wish],
    tracker: Beside,
) -> None:
    trainee = _trainee(job, world)
    checkpoints = CheckpointFolder(job.scratch / "checkpoints", job.fingerprint())

    def check(update: int) -> dict[str, Any]:
        if world.rank:
            on_validation({})
            return {}
        with trainee.averaged():
            figures = _validation(job, trainee.weights(), world)
            if isinstance(trainee, GeneratorTrainee):
                diagnose(trainee, tracker, job.scratch, update)
        _say(job.name, f"update {update}: validation " + _listed(figures))
        tracker.log_metrics({"validation": figures}, step=update)
        told: dict[str, Any] = {"phase": job.name, "update": update, **figures}
        on_validation(told)
        return told

    def progress(figures: dict[str, float]) -> None:
        if world.rank == 0:
            tracker.log_metrics({"training": figures}, step=int(figures["update"]))
            _say(job.name, _progress_line(figures, job.config.updates))
            speeds.append(figures["tokens_per_second"])

    def resumed(update: int) -> None:
        if world.rank == 0:
            _say(job.name, f"going on from update {update}")

    speeds: list[float] = []
    hooks = Hooks(validate=check, progress=progress, resumed=resumed, wish=wish)
    reader = ShardReader(job.train)
    done = train(trainee, reader, job.config, checkpoints, hooks, world)
    if world.rank == 0:
        figures = _pick(job, trainee, checkpoints, done.history, world)
        if isinstance(trainee, GeneratorTrainee):  # the pictures are of what is published
            draw(trainee.module, job.scratch)
        figures |= {"history": done.history, "training_seconds": done.seconds}
        figures["tokens_per_second"] = median(speeds) if speeds else None
        _leave_result(job, trainee, figures)


def _validation(job: TrainingJob, weights: Mapping[str, Tensor], world: World) -> dict[str, float]:
    return validate(job.model, weights, job.held_out, job.config.bleu_sentences, world.device)


def _pick(
    job: TrainingJob,
    trainee: Trainee,
    checkpoints: CheckpointFolder,
    history: list[dict[str, Any]],
    world: World,
) -> dict[str, Any]:
    """Load the weights that validate best, and tell which they are; ties go to the last ones."""
    module = trainee.module
    published = "last"
    figures = _figures(history[-1])
    with trainee.averaged():
        state = {name: each.clone() for name, each in module.state_dict().items()}
    for name, other, found in _others(job.config, checkpoints, history):
        if found is None:
            module.load_state_dict(other)
            found = _validation(job, trainee.weights(), world)
        _say(job.name, f"{name}: {_listed(found)}")
        if merit(found, job.config) > merit(figures, job.config):
            published, figures, state = name, found, other
    module.load_state_dict(state)
    return {"published": published, "validation": figures}


def _others(
    config: TrainingConfig, checkpoints: CheckpointFolder, history: list[dict[str, Any]]
) -> Iterator[tuple[str, dict[str, Tensor], dict[str, float] | None]]:
    """Yield what else may be published: a name, the trained module's state, and its validation.

    The last is None where there has been none: of means.
    """
    known = {each["update"]: _figures(each) for each in history}
    for name, choose in (("average", last_updates), ("best", best_updates)):
        chosen = choose(history, config)
        if chosen != [history[-1]["update"]] and (states := checkpoints.weights(chosen)):
            yield name, mean_state(states), known[chosen[0]] if len(chosen) == 1 else None


def _figures(told: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in told.items() if name not in TOLD}


def _leave_result(job: TrainingJob, trainee: Trainee, figures: dict[str, Any]) -> None:
    if result_of(job) is not None:
        return  # left before another worker was lost
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
    ) + (f", {figures['skipped']:.0f} updates skipped" if figures["skipped"] else "")


def _listed(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in figures.items())


def _say(name: str, line: str) -> None:
    # Standard output is the commands': `--json` prints one line there.
    print(f"{name}: {line}", file=sys.stderr, flush=True)
