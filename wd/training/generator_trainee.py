"""Phase 1: the generator is trained through the student that it makes."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.func import functional_call

from wd.config import TrainingConfig
from wd.data.batches import Batch
from wd.generator.generator import ParameterGenerator
from wd.model.paths import takes_gpu_path
from wd.model.rounding import multiplied, rounded
from wd.model.transformer import Transformer
from wd.training.objective import Objective
from wd.training.trainee import Trainee
from wd.training.world import World


class GeneratorTrainee(Trainee):
    """Trains the generator in phase 1; it makes the weights once a step, however many batches."""

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
        self._multiplied = multiplied(self._student)
        self._compile(self._student)

    def backward(self, batches: Sequence[Batch], scale: float) -> Tensor:
        """See `Trainee.backward`.

        Gradients gather on the generated weights, then go through; a single batch's go straight.
        """
        with self.autocast():  # the student's products round matrices no less
            generated = self._shared(self.lookups(batches))
        gather = len(batches) > 1
        weights = {
            name: weight.detach().requires_grad_() if gather else weight
            for name, weight in generated.items()
        }
        total = torch.zeros((), device=self._device)
        for batch in batches:
            batch = batch.to(self._device)
            with self.autocast():
                forward = partial(self._run, self._rounded(weights))
                loss = self._objective(self._student, forward, batch)
            (loss * scale).backward()
            total += loss.detach()
        if gather:
            learned = [name for name, weight in generated.items() if weight.requires_grad]
            torch.autograd.backward(
                [generated[name] for name in learned], [weights[name].grad for name in learned]
            )
        return total

    def lookups(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """Return the rows read of each table that serves for nothing but looking up.

        On a GPU none are told: to find them out waits for the device, and changes shapes.
        """
        if takes_gpu_path(next(self.module.parameters())):
            return {}
        tied = self.module.student.tied_embeddings
        ids = {}
        if tied != "all":
            ids["source_embedding.weight"] = [batch.source_BS for batch in batches]
        if tied == "none":
            ids["target_embedding.weight"] = [batch.target_in_BT for batch in batches]
        rows = {
            name: torch.cat([each.flatten() for each in read]).unique()
            for name, read in ids.items()
        }
        return {name: each.to(self._device, non_blocking=True) for name, each in rows.items()}

    def _rounded(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights as products take them, where rounding all at once pays."""
        if not takes_gpu_path(next(iter(weights.values()))):
            return weights
        return weights | rounded({name: weights[name] for name in self._multiplied})

    def _run(self, weights: dict[str, Tensor], *inputs: Tensor) -> Tensor:
        return functional_call(self._student, weights, inputs)

    @torch.no_grad()
    def weights(self) -> dict[str, Tensor]:
        """Return the materialised student."""
        return {name: each.detach() for name, each in self.module.materialize().items()}

    def published(self) -> dict[str, Tensor]:
        """Return the materialised student, in the bits that the generator on disk makes again."""
        return self.module.published()

    def gather(self) -> None:
        """See `Trainee.gather`: every worker has it all."""
