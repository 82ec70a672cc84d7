"""Averages of weights: of checkpoints, and exponential ones that move along with training."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from wd.training.sharding import placed, shares


def mean_state(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Average state dicts of one shape, weight by weight."""
    return {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}


class MovingAverage:
    """Holds the exponential moving average of what is trained of a module."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        trained = {name: one for name, one in module.named_parameters() if one.requires_grad}
        self._sources = list(trained.values())
        self.weights: dict[str, Tensor] = {
            name: one.detach().clone() for name, one in trained.items()
        }
        """The averages, by the weights' names in the module's state dict, spread as those are."""

    @torch.no_grad()
    def add(self, update: int) -> None:
        """Take the weights after optimiser step `update` (from 1) in.

        Early on, when the weights are still far from where they will be, it forgets faster.
        """
        average = get_ema_multi_avg_fn(min(self._decay, (1 + update) / (10 + update)))
        average(shares(self.weights.values()), shares(self._sources), update)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Go on from an average that was saved."""
        for name, weight in self.weights.items():
            weight.copy_(placed(weights[name], weight))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the module have the average while this lasts, then again what it had, bit for bit."""
        trained = [source.detach().clone() for source in shares(self._sources)]
        self._put(shares(self.weights.values()))
        try:
            yield
        finally:
            self._put(trained)

    @torch.no_grad()
    def _put(self, values: Sequence[Tensor]) -> None:
        for source, value in zip(shares(self._sources), values, strict=True):
            source.copy_(value)
