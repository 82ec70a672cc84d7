"""What a run trains: a model's own weights, or the generator that makes them (phase 1)."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parallel import DistributedDataParallel

from wd.config import TrainingConfig
from wd.data.batches import Batch
from wd.generator.generator import ParameterGenerator
from wd.model.transformer import Transformer
from wd.training.objective import Objective
from wd.training.world import World, autocast


class Trainee(ABC):
    """A module whose parameters an optimiser updates from the loss of a translation model."""

    def __init__(
        self, module: nn.Module, config: TrainingConfig, objective: Objective, world: World
    ) -> None:
        self.module = module.to(world.device)
        self.optimizer = _adam(self.module, config)
        self._config = config
        self._objective = objective
        self._device = world.device
        self._shared: nn.Module = self.module
        if world.size > 1:
            self._shared = DistributedDataParallel(self.module, forward_sync_buffers=False)

    @abstractmethod
    def backward(self, batches: Sequence[Batch], scale: float) -> Tensor:
        """Add d(scale x summed loss) / d(parameter), averaged over workers, to every `grad`.

        Returns the unscaled loss over this worker's batches, summed over target pieces.
        """

    @abstractmethod
    def weights(self) -> dict[str, Tensor]:
        """Return the translation model's state dict as it is now, detached."""

    def _autocast(self) -> AbstractContextManager[object]:
        return autocast(self._config.precision, self._device)


class ModelTrainee(Trainee):
    """A teacher, or a student in phase 2: all weights are trained."""

    module: Transformer

    def backward(self, batches: Sequence[Batch], scale: float) -> Tensor:
        """See `Trainee.backward`; workers exchange gradients once, with the last batch."""
        total = torch.zeros((), device=self._device)
        for left, batch in zip(reversed(range(len(batches))), batches, strict=True):
            batch = batch.to(self._device)
            ddp = self._shared if isinstance(self._shared, DistributedDataParallel) else None
            with ddp.no_sync() if ddp and left else nullcontext():
                with self._autocast():
                    loss = self._objective(self.module, self._shared, batch)
                (loss * scale).backward()
            total += loss.detach()
        return total

    def weights(self) -> dict[str, Tensor]:
        """Return the module's own state dict."""
        return self.module.state_dict()


class GeneratorTrainee(Trainee):
    """Phase 1: the generator makes the weights once per optimiser step, however many batches."""

    module: ParameterGenerator

    def __init__(
        self,
        module: ParameterGenerator,
        config: TrainingConfig,
        objective: Objective,
        world: World,
    ) -> None:
        super().__init__(module, config, objective, world)
        self._student = Transformer(module.student, config.dropout).to(world.device).train()

    def backward(self, batches: Sequence[Batch], scale: float) -> Tensor:
        """See `Trainee.backward`: gradients gather on the generated weights, then go through."""
        generated = self._shared()
        leaves = {name: weight.detach().requires_grad_() for name, weight in generated.items()}

        def forward(*inputs: Tensor) -> Tensor:
            return functional_call(self._student, leaves, inputs)

        total = torch.zeros((), device=self._device)
        for batch in batches:
            batch = batch.to(self._device)
            with self._autocast():
                loss = self._objective(self._student, forward, batch)
            (loss * scale).backward()
            total += loss.detach()
        learned = [name for name, weight in generated.items() if weight.requires_grad]
        torch.autograd.backward(
            [generated[name] for name in learned], [leaves[name].grad for name in learned]
        )
        return total

    @torch.no_grad()
    def weights(self) -> dict[str, Tensor]:
        """Return the materialised student."""
        return self.module.materialize()


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


def mean_state(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Average state dicts of one shape, weight by weight."""
    return {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
