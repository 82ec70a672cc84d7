"""Says how a run goes: in the log, to the tracker, and to whoever started it."""

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from statistics import median
from typing import Any

from torch import Tensor

from wd.logs import facts
from wd.store.shelf import here
from wd.tracking import Beside
from wd.training.diagnosis import diagnose
from wd.training.generator_trainee import GeneratorTrainee
from wd.training.job import TrainingJob
from wd.training.trainee import Trainee
from wd.training.validation import validate
from wd.training.world import World

_LOG = logging.getLogger(__name__)
OnValidation = Callable[[dict[str, Any]], None]
"""Takes the figures of a validation, `phase` and `update` among them; on ranks above 0, {}."""


class Reporter:
    """Validates what is trained, and says how it goes; of several workers only rank 0 does."""

    def __init__(
        self,
        job: TrainingJob,
        trainee: Trainee,
        world: World,
        tracker: Beside,
        on_validation: OnValidation,
    ) -> None:
        self._job = job
        self._trainee = trainee
        self._world = world
        self._tracker = tracker
        self._on_validation = on_validation
        self._speeds: list[float] = []

    @property
    def tokens_per_second(self) -> float | None:
        """The median over the progress reports of this attempt, None before the first."""
        return median(self._speeds) if self._speeds else None

    def resumed(self, update: int) -> None:
        """Say that training goes on after an update."""
        if self._world.rank == 0:
            self.say(f"going on from update {update}")

    def progress(self, figures: dict[str, float]) -> None:
        """Say and track the figures of the updates since the last report."""
        if self._world.rank == 0:
            self._tracker.log_metrics({"training": figures}, step=int(figures["update"]))
            updates = self._job.config.updates
            told = {"done": int(figures["update"]), "of": updates, "unit": "updates", **figures}
            self.say(_progress_line(figures, updates), progress=told)
            self._speeds.append(figures["tokens_per_second"])

    def validate(self, update: int) -> dict[str, Any]:
        """Validate what would be published; return the history's entry, on other ranks {}."""
        trainee, world = self._trainee, self._world
        with trainee.averaged():
            figures = self.measured(trainee.weights(), world)
            if isinstance(trainee, GeneratorTrainee) and world.rank == 0:
                diagnose(trainee, self._tracker, here(self._job.scratch), update)
        if world.rank:
            self._on_validation({})
            return {}
        told = {"update": update, **figures}
        self.say(f"update {update}: validation {listed(figures)}", validation=told)
        self._tracker.log_metrics({"validation": figures}, step=update)
        entry: dict[str, Any] = {"phase": self._job.name, "update": update, **figures}
        self._on_validation(entry)
        return entry

    def measured(
        self, weights: Mapping[str, Tensor], world: World | None = None
    ) -> dict[str, float]:
        """Return the validation's figures of some weights of the job's model.

        With `world` all workers share the work, otherwise this one does all of it.
        """
        job = self._job
        world = world or World(device=self._world.device)
        return validate(job.model, weights, job.held_out, job.config.bleu_sentences, world)

    def compiled(self, seconds: float) -> None:
        """Say what the first update took, most of which was compiling."""
        if self._world.rank == 0:
            self.say(f"compiled; the first update took {seconds:.0f} s")

    def say(self, line: str, **figures: Mapping[str, Any]) -> None:
        """Log a line, and the figures that it tells."""
        _LOG.info("%s: %s", self._job.name, line, extra=facts(**figures))


def listed(figures: Mapping[str, float]) -> str:
    """Return figures as a part of a line."""
    return ", ".join(f"{name} {value:.2f}" for name, value in figures.items())


def _progress_line(figures: Mapping[str, float], updates: int) -> str:
    left = timedelta(seconds=round(figures["seconds_left"]))
    return (
        f"update {figures['update']:.0f} of {updates}, loss {figures['loss']:.3f}, "
        f"{figures['tokens_per_second']:,.0f} target tokens/s, {left} left"
    ) + (f", {figures['skipped']:.0f} updates skipped" if figures["skipped"] else "")
