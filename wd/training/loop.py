"""The training loop: updates, validations and checkpoints in turn, from wherever a run is."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
import torch.distributed

from wd.config import TrainingConfig
from wd.data.batches import ShardReader
from wd.errors import ConfigError, UserError
from wd.training.checkpoint import CheckpointFolder, Progress
from wd.training.meter import Meter, diverged
from wd.training.out_of_memory import memory_explained
from wd.training.selection import best_updates, exhausted, last_updates
from wd.training.supply import Supply
from wd.training.trainee import Trainee
from wd.training.world import World

Value = TypeVar("Value")
Wish = Literal["go on", "save", "stop"]
"""What somebody outside wants: to let the run go on, to have it saved, or saved and stopped."""


def go_on() -> Wish:
    """Want nothing but that the run goes on."""
    return "go on"


class Interrupted(KeyboardInterrupt):
    """Raised when somebody wanted the run to stop, and it is saved."""


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What happens beside the training; each is called on every worker."""

    validate: Callable[[int], dict[str, Any]]
    """Is called after `update` steps; returns the history's entry on rank 0, else nothing."""
    progress: Callable[[dict[str, float]], None]
    """Is called every `log_every` updates and before each validation, with update, loss,
    learning_rate, gradient_norm, skipped, tokens_per_second and seconds_left."""
    compiled: Callable[[float], None]
    """Is called after this attempt's first update, if that compiled, with its seconds."""
    resumed: Callable[[int], None]
    """Is called before the first update, if the run goes on after an earlier one: with that."""
    wish: Callable[[], Wish]
    """Is called after every update; returns the same on all workers."""


def train(
    trainee: Trainee,
    reader: ShardReader,
    config: TrainingConfig,
    checkpoints: CheckpointFolder,
    hooks: Hooks,
    world: World,
) -> Progress:
    """Train until `config.updates` or no more progress, from the newest checkpoint if there is one.

    A validation comes after the checkpoint of its update, which so lacks its entry in the history:
    a run that goes on from there validates first. Raises ConfigError if there are fewer batches
    than workers, UserError if too many updates in a row have no finite gradient or a validation's
    loss is not finite, DeviceMemoryError if an update does not fit, Interrupted on a wish.
    """
    check_share(config, world.size)
    attempt = _Attempt(trainee, reader, config, checkpoints, hooks, world)
    try:
        attempt.run()
    finally:
        attempt.close()
    return attempt.progress


class _Attempt:
    """One process's share of a run, from where the run stands until it ends or is ended."""

    def __init__(
        self,
        trainee: Trainee,
        reader: ShardReader,
        config: TrainingConfig,
        checkpoints: CheckpointFolder,
        hooks: Hooks,
        world: World,
    ) -> None:
        self._trainee, self._config, self._world = trainee, config, world
        self._checkpoints, self._hooks = checkpoints, hooks
        average = trainee.moving_average
        self.progress = checkpoints.restore(trainee.module, trainee.optimizer, average)
        _check_agreement(self.progress.update, world)
        if self.progress.update:
            hooks.resumed(self.progress.update)
        self._first = self.progress.update + 1
        self._earlier, self._began = self.progress.seconds, time.monotonic()
        self._supply = Supply(reader, config, world)
        self._meter = Meter(config, self.progress.update, world)

    def run(self) -> None:
        """Update, validate and save in turn."""
        config, progress = self._config, self.progress
        self._trainee.module.train()
        if _validates(progress.update, config) and not _is_validated(progress):
            self._validate()  # a validation ended the attempt before
        while progress.update < config.updates and not exhausted(progress.history, config):
            self._update()
            validates = _validates(progress.update, config)
            if validates or progress.update % config.log_every == 0:
                self._meter.report(progress.update, self._hooks.progress)
            if config.compile and progress.update == self._first:
                self._hooks.compiled(time.monotonic() - self._began)
                self._meter.restart(progress.update)
            if validates:
                self._save()  # first, so that whatever happens to a validation costs no training
                self._validate()
            wish = self._hooks.wish()
            if wish != "go on" and not validates:
                self._save()
            if wish == "stop":
                raise Interrupted

    def close(self) -> None:
        """Read no more, and wait for the last checkpoint."""
        self._supply.close()
        self._checkpoints.wait()

    def _update(self) -> None:
        progress, config, world = self.progress, self._config, self._world
        batches, tokens = self._supply.take(progress.update)
        _fix_random_numbers(config.seed, progress.update, world.rank)
        # Workers' gradients are averaged; this makes them that of the mean loss per token.
        with memory_explained(config, world, batches):
            loss = self._trainee.backward(batches, world.size / tokens)
            progress.update += 1
            norm, skipped = self._trainee.step(progress.update)
        self._meter.add(loss, tokens, norm, skipped)

    def _validate(self) -> None:
        update = self.progress.update
        self.progress.history.append(_agreed(self._hooks.validate(update), self._world))
        self._trainee.module.train()
        self._meter.restart(update)

    def _save(self) -> None:
        progress, config, trainee = self.progress, self._config, self._trainee
        progress.seconds = self._earlier + time.monotonic() - self._began
        if self._world.rank and not trainee.spread:
            return
        coming = [{"update": progress.update}] if _validates(progress.update, config) else []
        history = progress.history
        self._checkpoints.save(
            progress,
            trainee.module,
            trainee.optimizer,
            moving_average=trainee.moving_average,
            keep={*last_updates([*history, *coming], config), *best_updates(history, config)},
            rank=self._world.rank,
        )


def _validates(update: int, config: TrainingConfig) -> bool:
    """Tell whether a run validates after so many updates."""
    return update > 0 and (update % config.validate_every == 0 or update == config.updates)


def _is_validated(progress: Progress) -> bool:
    """Tell whether the last validation was of the weights as they are."""
    return bool(progress.history) and progress.history[-1]["update"] == progress.update


def _check_agreement(update: int, world: World) -> None:
    """Raise RuntimeError, for which a launcher starts again, if workers read different states."""
    if (newest := _from_rank_0(update, world)) != update:
        raise RuntimeError(f"rank {world.rank} found update {update}, rank 0 update {newest}")


def check_share(config: TrainingConfig, workers: int) -> None:
    """Raise ConfigError unless every worker gets a batch of each update."""
    if config.batches_per_update < workers:
        raise ConfigError(
            f"batches_per_update: {config.batches_per_update} batches cannot be shared by "
            f"{workers} workers; raise it, best to a multiple of ray.workers"
        )


def _fix_random_numbers(seed: int, update: int, rank: int) -> None:
    """Make dropout a function of these, so that a resumed run equals an unbroken one."""
    torch.manual_seed((seed * 1_000_003 + update) * 1009 + rank)


def _agreed(entry: dict[str, Any], world: World) -> dict[str, Any]:
    """Return rank 0's entry of the history, by which all workers decide alike.

    Raises UserError if its loss is not finite.
    """
    entry = _from_rank_0(entry, world)
    if not math.isfinite(entry["loss"]):
        raise UserError(diverged(entry["update"], "the validation loss is not finite"))
    return entry


def _from_rank_0(value: Value, world: World) -> Value:
    """Return what rank 0 called this with."""
    values = [value]
    if world.size > 1:
        torch.distributed.broadcast_object_list(values, src=0, device=world.device)
    return values[0]
