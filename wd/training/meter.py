"""Loss, gradients and speed between two progress reports."""

import math
import time
from collections.abc import Callable

import torch
import torch.distributed
from torch import Tensor

from wd.config import TrainingConfig
from wd.errors import UserError
from wd.training.schedule import learning_rate
from wd.training.world import World


class Meter:
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
        """Tell `progress` what `Hooks.progress` says; raises UserError after too many skips."""
        if self._world.size > 1:
            torch.distributed.all_reduce(self._loss)
        pieces, skipped = self._pieces.item(), self._skipped.item()
        if self._most_in_a_row.item() >= self._config.max_skipped:
            sign = f"{self._config.max_skipped} updates in a row had no finite gradient"
            raise UserError(diverged(update, sign))
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


def diverged(update: int, sign: str) -> str:
    """Return what to say when training diverged, and what to do."""
    return (
        f"training diverged before update {update}: {sign}; lower learning_rate, raise "
        "warmup_updates, or set clip_norm: 1.0"
    )
