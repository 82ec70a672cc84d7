"""What a run trains: a model's own weights, or the generator that makes them (phase 1)."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from wd.config import TrainingConfig
from wd.data.batches import Batch
from wd.model.transformer import Transformer
from wd.training.averaging import MovingAverage
from wd.training.memory import keep_freed_memory
from wd.training.objective import Objective
from wd.training.schedule import learning_rate
from wd.training.sharding import gathered, is_spread, whole
from wd.training.world import World, autocast

_KNOWN = signature(DistributedDataParallel).parameters
_NO_EXCHANGE: dict[str, Any] = {
    "forward_sync_buffers" if "forward_sync_buffers" in _KNOWN else "broadcast_buffers": False
}
"""Exchange no buffers at a forward pass, in the words of torch since 2.13, or of those before."""


class Trainee(ABC):
    """A module whose parameters an optimiser updates from the loss of a translation model."""

    def __init__(
        self, module: nn.Module, config: TrainingConfig, objective: Objective, world: World
    ) -> None:
        if world.device.type == "cpu":
            keep_freed_memory()
        self.module = module.to(world.device)
        self.optimizer = _adam(self.module, config)
        self.moving_average = (
            MovingAverage(self.module, config.ema_decay) if config.ema_decay else None
        )
        self._config = config
        self._objective = objective
        self._device = world.device
        self._rank = world.rank
        self.spread = is_spread(module)
        """Whether each worker holds a share of the module: then what is asked of it takes all."""
        self._shared: nn.Module = self.module
        if world.size > 1 and not self.spread:
            # Of a map that is held once, [1, I, O], the first stride has no meaning.
            warnings.filterwarnings("ignore", "Grad strides do not match bucket view")
            self._shared = DistributedDataParallel(
                self.module, gradient_as_bucket_view=True, **_NO_EXCHANGE
            )

    @abstractmethod
    def backward(self, batches: Sequence[Batch], scale: float) -> Tensor:
        """Add d(scale x summed loss) / d(parameter), averaged over workers, to every `grad`.

        Returns the unscaled loss over this worker's batches, summed over target pieces.
        """

    def step(self, update: int) -> tuple[Tensor, Tensor]:
        """Take optimiser step `update` (from 1) and clear the gradients.

        Returns, on the device, the gradient's norm before it was clipped, and 1.0 if it was not
        finite, in which case the parameters have not changed, else 0.0.
        """
        (group,) = self.optimizer.param_groups
        group["lr"] = learning_rate(update, self._config)
        parameters = [each for each in group["params"] if each.grad is not None]
        norm = whole(get_total_norm([each.grad for each in parameters]))
        if self._config.clip_norm is not None:
            clip_grads_with_norm_(parameters, self._config.clip_norm, norm)
        # The fused optimiser looks at this on the device, as it does for gradient scaling.
        skipped = (~norm.isfinite()).float()
        self.optimizer.found_inf = skipped  # type: ignore[attr-defined]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.moving_average is not None:
            self.moving_average.add(update)
        return norm, skipped

    @abstractmethod
    def weights(self) -> dict[str, Tensor]:
        """Return the translation model's state dict as it is now, detached."""

    def published(self) -> dict[str, Tensor]:
        """Return the translation model's state dict as it is to be published, detached."""
        return self.weights()

    def averaged(self) -> AbstractContextManager[None]:
        """Let the module have the weights that are to be published: its moving average, if any."""
        return self.moving_average.in_place() if self.moving_average else nullcontext()

    @abstractmethod
    def gather(self) -> None:
        """After training, hold all that may be published, on rank 0; all workers call this."""

    def _compile(self, model: Transformer) -> None:
        """Compile each layer for any sentence length, if the config says so.

        Layers of a stack share the code: a few seconds for each stack, where a whole step takes
        minutes.
        """
        if self._config.compile:
            # It would cut what several workers compile into pieces, to send their gradients early;
            # layers are such pieces already.
            torch._dynamo.config.optimize_ddp = False
            for stack in (model.encoder, model.decoder):
                for layer in stack.layers:
                    layer.compile(dynamic=True)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context for the forward pass, in the config's precision."""
        return autocast(self._config.precision, self._device)


class ModelTrainee(Trainee):
    """Trains a teacher, or a student in phase 2: all weights."""

    module: Transformer

    def __init__(
        self, module: Transformer, config: TrainingConfig, objective: Objective, world: World
    ) -> None:
        super().__init__(module, config, objective, world)
        self._compile(module)

    def backward(self, batches: Sequence[Batch], scale: float) -> Tensor:
        """See `Trainee.backward`; workers exchange gradients once, with the last batch."""
        total = torch.zeros((), device=self._device)
        for left, batch in zip(reversed(range(len(batches))), batches, strict=True):
            batch = batch.to(self._device)
            ddp = self._shared if isinstance(self._shared, DistributedDataParallel) else None
            with ddp.no_sync() if ddp and left else nullcontext():
                with self.autocast():
                    loss = self._objective(self.module, self._shared, batch)
                (loss * scale).backward()
            total += loss.detach()
        return total

    def weights(self) -> dict[str, Tensor]:
        """Return the module's own state dict; of one that is spread, whole on every CPU."""
        return gathered(self.module.state_dict())

    def gather(self) -> None:
        """See `Trainee.gather`; the optimiser is no longer of use."""
        if not self.spread:
            return
        with self.averaged():
            weights = self.weights()
        self.moving_average, self.spread = None, False
        self.optimizer.state.clear()
        if self._rank == 0:
            self.module = Transformer(self.module.config)
            self.module.load_state_dict(weights)


def _adam(module: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return AdamW over what is trained of a module; its frozen parameters are left out."""
    return torch.optim.AdamW(
        [parameter for parameter in module.parameters() if parameter.requires_grad],
        lr=config.learning_rate,
        betas=config.adam_betas,
        eps=1e-9,
        weight_decay=config.weight_decay,
        fused=True,
    )
