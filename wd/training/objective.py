"""What a translation model is trained towards: the references, and perhaps a teacher beside them.

Shapes: B sentences, S source and T target positions, V target vocabulary.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from wd.config import GroupingConfig, ModelConfig, ObjectiveConfig
from wd.data.batches import Batch
from wd.data.schema import PAD
from wd.model.transformer import Transformer
from wd.training.hidden_states import Counterparts, States, counterparts, recorded, state_distance
from wd.training.loss import cross_entropy, stored_divergence, word_divergence

Forward = Callable[[Tensor, Tensor], Tensor]
"""Source [B, S] and shifted target [B, T] -> logits [B, T, V]."""


class Guide:
    """The frozen teacher that runs beside a student.

    It is no `nn.Module`, so that no optimiser, checkpoint or exchange of gradients takes it in.
    """

    def __init__(
        self,
        teacher: Transformer,
        student: ModelConfig,
        config: ObjectiveConfig,
        grouping: GroupingConfig,
    ) -> None:
        """Raise ConfigError if layers are to be compared and the subsets do not fit."""
        self._teacher = teacher.eval().requires_grad_(False)
        self._config = config
        self._layers: Counterparts = {}
        if config.hidden_states:
            self._layers = counterparts(teacher.config, student, grouping)

    def recording(self, model: Transformer) -> AbstractContextManager[States]:
        """Return a context that yields what the layers put out, if that is compared.

        A compiled layer with a hook of its own is compiled apart from its likes.
        """
        return recorded(model) if self._layers else nullcontext({})

    def loss(
        self, logits_BTV: Tensor, states: States, batch: Batch, *, compiled: bool = False
    ) -> Tensor:
        """Return how far a student's logits and states are from the teacher's, weighted.

        Summed over target pieces; of the states' distance, each piece has its sentence's.
        """
        with torch.no_grad(), self.recording(self._teacher) as goals:
            goal_BTV = self._teacher(batch.source_BS, batch.target_in_BT)
        loss = torch.zeros((), device=logits_BTV.device)
        if self._config.word_kd:
            temperature = self._config.temperature
            divergence = word_divergence(
                logits_BTV, goal_BTV, batch.target_BT, temperature, compiled=compiled
            )
            loss = loss + self._config.word_kd * divergence
        inside = {"encoder": batch.source_BS != PAD, "decoder": batch.target_BT != PAD}
        pieces_B = inside["decoder"].sum(1)
        for stack, layers in self._layers.items():
            theirs = [goals[stack][layer] for layer in layers]
            distance_B = state_distance(states[stack], theirs, inside[stack])
            loss = loss + self._config.hidden_states * (distance_B * pieces_B).sum()
        return loss


@dataclass(frozen=True)
class StoredGuide:
    """The teacher's words as batches bring them along: no teacher runs."""

    config: ObjectiveConfig

    def loss(self, logits_BTV: Tensor, batch: Batch, *, compiled: bool = False) -> Tensor:
        """Return how far a student's logits are from the teacher's words, weighted."""
        assert batch.words is not None
        temperature, words = self.config.temperature, batch.words
        divergence = stored_divergence(
            logits_BTV, words, batch.target_BT, temperature, compiled=compiled
        )
        return self.config.word_kd * divergence


@dataclass(frozen=True)
class Objective:
    """The loss of a model that is being trained."""

    label_smoothing: float
    guide: Guide | StoredGuide | None = None
    compiled: bool = False
    """Whether losses over the vocabulary are compiled where that pays."""

    def __call__(self, model: Transformer, forward: Forward, batch: Batch) -> Tensor:
        """Return the loss, summed over the target pieces of a batch (nats, float32).

        `forward` runs `model`: by itself, wrapped for several workers, or with other weights.
        """
        if self.guide is None:
            logits_BTV = forward(batch.source_BS, batch.target_in_BT)
            return self._cross_entropy(logits_BTV, batch)
        if isinstance(self.guide, StoredGuide):
            logits_BTV = forward(batch.source_BS, batch.target_in_BT)
            added = self.guide.loss(logits_BTV, batch, compiled=self.compiled)
            return self._cross_entropy(logits_BTV, batch) + added
        with self.guide.recording(model) as states:
            logits_BTV = forward(batch.source_BS, batch.target_in_BT)
        loss = self._cross_entropy(logits_BTV, batch)
        return loss + self.guide.loss(logits_BTV, states, batch, compiled=self.compiled)

    def _cross_entropy(self, logits_BTV: Tensor, batch: Batch) -> Tensor:
        target_BT, smoothing = batch.target_BT, self.label_smoothing
        return cross_entropy(logits_BTV, target_BT, smoothing, compiled=self.compiled)
