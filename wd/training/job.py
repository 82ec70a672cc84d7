"""One training run as plain data: what is trained on what, and what is left of it in the end."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from wd.config import (
    GeneratorConfig,
    GroupingConfig,
    ModelConfig,
    ObjectiveConfig,
    TrainingConfig,
)
from wd.data.schema import PARTS
from wd.errors import ArtifactError
from wd.files import whole
from wd.model.directory import WEIGHTS, load_weights, save_weights
from wd.places import Place
from wd.store.pieces import digests_of
from wd.store.shelf import here, names, pull, push
from wd.tracking import TrackerHandle
from wd.training import WITHOUT_EFFECT
from wd.training.validation import HeldOut

MODULE, FIGURES, FINGERPRINT = "module.safetensors", "figures.json", "fingerprint"
"""These files of a result lie beside the translation model's weights."""


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """What to train; a worker process needs nothing else."""

    name: str
    """Progress lines begin with it: teacher, generator or some student."""
    config: TrainingConfig
    model: ModelConfig
    """The translation model that is trained or generated."""
    train: tuple[Place, ...]
    """Folders of shards, which are read as one."""
    words: tuple[Place, ...] = ()
    """Folders of the teacher's stored word distributions, one for each of `train`; without them it
    runs beside the student where the objective needs it."""
    held_out: HeldOut
    scratch: Place
    """Folder for checkpoints and the result; a job with the same one goes on where it stopped."""
    start: Place | None = None
    """File of the weights to start from; without one they are random."""
    teacher: Place | None = None
    """The teacher's model directory, where the generator or the objective needs one."""
    generator: GeneratorConfig | None = None
    """How to generate, in phase 1; None where the model's own weights are trained."""
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    grouping: GroupingConfig = field(default_factory=GroupingConfig)
    """Says which teacher layers the objective compares with the student's."""
    tracker: TrackerHandle | None = None

    def fingerprint(self) -> str:
        """Return a hash of what is trained, how, from which weights, on which data and pieces.

        Files count by their bytes, wherever they lie. A job with another hash has other results.
        """
        config = self.config.without(*WITHOUT_EFFECT)
        grouping = self.grouping if self.objective.hidden_states else None
        generator = self.generator and self.generator.without("training")
        configs = [config, self.model, self.objective, grouping, generator]
        files = {
            "start": digests_of(self.start) if self.start else [],
            "teacher": digests_of(self.teacher / WEIGHTS) if self.teacher else [],
            "train": [digest for folder in self.train for digest in digests_of(folder, PARTS)],
            "held-out batches": digests_of(self.held_out.shards, PARTS),
            "held-out text": digests_of(self.held_out.corpus, PARTS),
            "tokenizer": digests_of(self.held_out.tokenizer, "*.model"),
        }
        if self.words:
            files["words"] = [digest for one in self.words for digest in digests_of(one, PARTS)]
        facts = {
            "configs": [
                each and each.model_dump(mode="json", exclude_defaults=True) for each in configs
            ],
            "files": files,
            "language": self.held_out.language,
        }
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Trained:
    """A finished run's files, below the job's scratch folder."""

    folder: Path
    figures: dict[str, Any] = field(default_factory=dict)
    """Which weights are published, their validation, the history of all validations, and speed."""

    @property
    def weights(self) -> dict[str, Tensor]:
        """The translation model's weights."""
        return load_weights(self.folder / WEIGHTS)

    @property
    def module(self) -> dict[str, Tensor]:
        """The trained module's state: the generator's in phase 1, else the same weights."""
        return load_weights(self.folder / MODULE)


def result_of(job: TrainingJob) -> Trained | None:
    """Return what a finished job left, None while it is not finished.

    Raises ArtifactError if another job left it.
    """
    if FINGERPRINT not in names(_result(job)):
        return None
    folder = pull(_result(job))
    if (folder / FINGERPRINT).read_text("ascii") != job.fingerprint():
        raise ArtifactError(
            f"{folder}: the result of another run, with other settings or other data; remove "
            f"{job.scratch} to start anew"
        )
    return Trained(folder, json.loads((folder / FIGURES).read_text("utf-8")))


def leave_result(
    job: TrainingJob,
    weights: Mapping[str, Tensor],
    module: Mapping[str, Tensor],
    figures: Mapping[str, Any],
) -> None:
    """Write what `result_of` returns, all of it or nothing; what is there already stays."""
    if result_of(job) is not None:
        return  # left before another worker was lost
    with whole(here(_result(job))) as partial:
        partial.mkdir(parents=True)
        save_weights(partial / WEIGHTS, weights)
        save_weights(partial / MODULE, module)
        (partial / FIGURES).write_text(json.dumps(figures), "utf-8")
        (partial / FINGERPRINT).write_text(job.fingerprint(), "ascii")
    push(_result(job), last=FINGERPRINT)


def _result(job: TrainingJob) -> Place:
    return job.scratch / "result"
