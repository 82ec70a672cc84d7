"""The training loop."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed

from wd.config import TrainingConfig
from wd.data.batches import Batch, ShardReader
from wd.errors import ConfigError, UserError
from wd.training.checkpoint import CheckpointFolder
from wd.training.schedule import learning_rate
from wd.training.trainee import Trainee
from wd.training.world import World


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What happens beside the training; each is called on every worker."""

    validate: Callable[[int], dict[str, Any]]
    """After `update` steps; returns figures (rank 0) or nothing."""
    progress: Callable[[dict[str, float]], None]
    """Every `log_every` updates: update, loss, learning_rate, tokens_per_second, seconds_left."""


def train(
    trainee: Trainee,
    reader: ShardReader,
    config: TrainingConfig,
    checkpoints: CheckpointFolder,
    hooks: Hooks,
    world: World,
) -> list[dict[str, Any]]:
    """Train until `config.updates`, from the newest checkpoint if there is one.

    Returns the validations' figures. Raises ConfigError if the workers cannot share the batches,
    UserError if the loss stops being a number.
    """
    check_share(config, world.size)
    update, history = checkpoints.restore(trainee.module, trainee.optimizer)
    meter = _Meter(config, update, world)
    trainee.module.train()
    while update < config.updates:
        batches, tokens = _share(reader, update, config, world)
        # Workers' gradients are averaged; this makes them the gradient of the mean loss per token.
        loss = trainee.backward(batches, world.size / tokens)
        update += 1
        update_weights(trainee.optimizer, learning_rate(update, config), config.clip_norm)
        meter.add(loss, tokens)
        if update % config.validate_every == 0 or update == config.updates:
            meter.report(update, hooks.progress)
            figures = hooks.validate(update)
            if world.rank == 0:
                history.append(figures)
                checkpoints.save(update, trainee.module, trainee.optimizer, history)
            trainee.module.train()
        elif update % config.log_every == 0:
            meter.report(update, hooks.progress)
    return history


def _share(
    reader: ShardReader, update: int, config: TrainingConfig, world: World
) -> tuple[list[Batch], int]:
    """Return this worker's batches of an update, and the target pieces of all workers' batches.

    Fixing the random numbers of each update makes a resumed run equal an unbroken one.
    """
    torch.manual_seed((config.seed * 1_000_003 + update) * 1009 + world.rank)
    indices = reader.step(update, config.batches_per_update, config.seed)
    mine = [reader[index] for index in indices[world.rank :: world.size]]
    return mine, int(reader.tokens[indices].sum())


def update_weights(optimizer: torch.optim.Optimizer, rate: float, clip_norm: float | None) -> None:
    """Take an optimiser step at this learning rate, and forget the gradients."""
    for group in optimizer.param_groups:
        group["lr"] = rate
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(group["params"], clip_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def check_share(config: TrainingConfig, workers: int) -> None:
    """Raise ConfigError unless the workers can take equally many batches per update."""
    if config.batches_per_update % workers:
        raise ConfigError(
            f"batches_per_update: {config.batches_per_update} batches cannot be shared evenly "
            f"by {workers} workers; make it a multiple of ray.workers"
        )


class _Meter:
    """Loss and speed since the last report; looks at the device only when it reports."""

    def __init__(self, config: TrainingConfig, update: int, world: World) -> None:
        self._config = config
        self._world = world
        self._loss = torch.zeros((), device=world.device)
        self._start(update)

    def _start(self, update: int) -> None:
        self._loss.zero_()
        self._tokens = 0
        self._update = update
        self._began = time.monotonic()

    def add(self, loss: torch.Tensor, tokens: int) -> None:
        self._loss += loss
        self._tokens += tokens

    def report(self, update: int, progress: Callable[[dict[str, float]], None]) -> None:
        if self._world.size > 1:
            torch.distributed.all_reduce(self._loss)
        loss = self._loss.item() / max(self._tokens, 1)
        if not math.isfinite(loss):
            raise UserError(
                f"training diverged before update {update}: the loss is {loss}; lower "
                "learning_rate, raise warmup_updates, or set clip_norm: 1.0"
            )
        seconds = time.monotonic() - self._began
        per_update = seconds / max(update - self._update, 1)
        progress(
            {
                "update": update,
                "loss": loss,
                "learning_rate": learning_rate(update, self._config),
                "tokens_per_second": self._tokens / max(seconds, 1e-9),
                "seconds_left": per_update * (self._config.updates - update),
            }
        )
        self._start(update)
