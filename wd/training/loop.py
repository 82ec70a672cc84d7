"""The training loop: updates, validations and checkpoints in turn, from wherever a run is."""

import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
import torch.distributed
from torch import Tensor

from wd.config import TrainingConfig
from wd.data.batches import Batch, ShardReader
from wd.errors import ConfigError, UserError
from wd.training.checkpoint import CheckpointFolder, Progress
from wd.training.out_of_memory import memory_explained
from wd.training.schedule import learning_rate
from wd.training.selection import best_updates, exhausted, last_updates
from wd.training.sharding import evened
from wd.training.trainee import Trainee
from wd.training.world import World

AHEAD = 16
"""Updates whose batches are read ahead: a new window of row groups takes seconds to load."""
MULTIPLE = 8
"""A GPU gets sequences of such lengths: its attention kernels want them, and shapes are fewer."""
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
    """Is called every `log_every` updates, with update, loss, learning_rate, gradient_norm,
    skipped, tokens_per_second and seconds_left."""
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
    progress = checkpoints.restore(trainee.module, trainee.optimizer, trainee.moving_average)
    _check_agreement(progress.update, world)
    if progress.update:
        hooks.resumed(progress.update)
    history, earlier, began = progress.history, progress.seconds, time.monotonic()
    first = progress.update + 1
    supply, meter = _Supply(reader, config, world), _Meter(config, progress.update, world)

    def save() -> None:
        progress.seconds = earlier + time.monotonic() - began
        if world.rank == 0 or trainee.spread:
            coming = [{"update": progress.update}] if _validates(progress.update, config) else []
            keep = {*last_updates([*history, *coming], config), *best_updates(history, config)}
            checkpoints.save(
                progress,
                trainee.module,
                trainee.optimizer,
                moving_average=trainee.moving_average,
                keep=keep,
                rank=world.rank,
            )

    def validate() -> None:
        history.append(_agreed(hooks.validate(progress.update), world))
        trainee.module.train()
        meter.restart(progress.update)

    try:
        trainee.module.train()
        if _validates(progress.update, config) and not _is_validated(progress):
            validate()  # a validation ended the attempt before
        while progress.update < config.updates and not exhausted(history, config):
            batches, tokens = supply.take(progress.update)
            _fix_random_numbers(config.seed, progress.update, world.rank)
            # Workers' gradients are averaged; this makes them that of the mean loss per token.
            with memory_explained(config, world, batches):
                loss = trainee.backward(batches, world.size / tokens)
                progress.update = update = progress.update + 1
                norm, skipped = trainee.step(update)
            meter.add(loss, tokens, norm, skipped)
            validates = _validates(update, config)
            if validates or update % config.log_every == 0:
                meter.report(update, hooks.progress)
            if config.compile and update == first:
                norm.item()  # waits for the device
                hooks.compiled(time.monotonic() - began)
                meter.restart(update)
            if validates:
                save()  # first, so that whatever happens to a validation costs no training
                validate()
            wish = hooks.wish()
            if wish != "go on" and not validates:
                save()
            if wish == "stop":
                raise Interrupted
    finally:
        supply.close()
        checkpoints.wait()
    return progress


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
        raise UserError(_diverged(entry["update"], "the validation loss is not finite"))
    return entry


def _from_rank_0(value: Value, world: World) -> Value:
    """Return what rank 0 called this with."""
    values = [value]
    if world.size > 1:
        torch.distributed.broadcast_object_list(values, src=0, device=world.device)
    return values[0]


def _diverged(update: int, sign: str) -> str:
    return (
        f"training diverged before update {update}: {sign}; lower learning_rate, raise "
        "warmup_updates, or set clip_norm: 1.0"
    )


class _Supply:
    """Holds this worker's batches of one update after another, some of them read ahead."""

    def __init__(self, reader: ShardReader, config: TrainingConfig, world: World) -> None:
        self._reader = reader
        self._config = config
        self._world = world
        self._thread = ThreadPoolExecutor(1, "batches")
        self._ahead: deque[Future[tuple[list[Batch], int]]] = deque()
        self._next: int | None = None

    def take(self, update: int) -> tuple[list[Batch], int]:
        """Return the batches, and the target pieces of all workers' batches."""
        if self._next != update:
            self._ahead.clear()
        first = update + len(self._ahead)
        for one in range(first, min(update + AHEAD, self._config.updates)):
            self._ahead.append(self._thread.submit(self._read, one))
        self._next = update + 1
        return self._ahead.popleft().result()

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)

    def _read(self, update: int) -> tuple[list[Batch], int]:
        config, world = self._config, self._world
        indices = self._reader.step(update, config.batches_per_update, config.seed)
        mine = [self._reader[index] for index in indices[world.rank :: world.size]]
        mine = evened(mine, config, world)
        if world.device.type == "cuda":
            mine = [batch.filled(MULTIPLE).pinned() for batch in mine]
        return mine, int(self._reader.tokens[indices].sum())


class _Meter:
    """Sums up loss, gradients and speed since the last report; looks at the device only then."""

    def __init__(self, config: TrainingConfig, update: int, world: World) -> None:
        self._config = config
        self._world = world
        zeros = torch.zeros(5, device=world.device)
        self._loss, self._norm, self._skipped, self._in_a_row, self._most_in_a_row = zeros
        self._pieces = torch.zeros((), device=world.device)
        self.restart(update)

    def restart(self, update: int) -> None:
        """Begin a window after `update`; what came since the last one is left out."""
        for sum_ in (self._loss, self._pieces, self._norm, self._skipped, self._most_in_a_row):
            sum_.zero_()
        self._tokens = 0
        self._update = update
        self._began = time.monotonic()

    def add(self, loss: Tensor, tokens: int, norm: Tensor, skipped: Tensor) -> None:
        """Take an update in; a skipped one counts only as that."""
        done = 1 - skipped
        self._loss += torch.where(skipped > 0, 0.0, loss)
        self._norm += torch.where(skipped > 0, 0.0, norm)
        self._pieces += tokens * done
        self._skipped += skipped
        self._in_a_row += 1
        self._in_a_row *= skipped
        torch.maximum(self._most_in_a_row, self._in_a_row, out=self._most_in_a_row)
        self._tokens += tokens

    def report(self, update: int, progress: Callable[[dict[str, float]], None]) -> None:
        if self._world.size > 1:
            torch.distributed.all_reduce(self._loss)
        pieces, skipped = self._pieces.item(), self._skipped.item()
        if self._most_in_a_row.item() >= self._config.max_skipped:
            sign = f"{self._config.max_skipped} updates in a row had no finite gradient"
            raise UserError(_diverged(update, sign))
        seconds = time.monotonic() - self._began
        updates = update - self._update
        done = updates - skipped
        progress(
            {
                "update": update,
                "loss": self._loss.item() / pieces if pieces else math.nan,
                "learning_rate": learning_rate(update, self._config),
                "gradient_norm": self._norm.item() / done if done else math.nan,
                "skipped": skipped,
                "tokens_per_second": self._tokens / max(seconds, 1e-9),
                "seconds_left": seconds / updates * (self._config.updates - update),
            }
        )
        self.restart(update)
