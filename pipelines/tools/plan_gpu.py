"""What a recipe takes on a GPU: memory by stage, the batches that fit, hours by number of cards.

Everything is counted from the configuration; what is assumed is told beside the figures.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.tools.gpus import Gpu
from wd.config import Method, ModelConfig, Recipe, TrainingConfig
from wd.generator.choices import generable_classes
from wd.generator.sizes import frozen_bytes, map_sizes, own_parameters
from wd.model.memory import (
    DIVERGENCE_PER_WORD,
    GENERATED,
    LOSS_BLOCK,
    PieceBytes,
    gathered_bytes,
    loss_block_bytes,
    piece_bytes,
    rounded_bytes,
    state_bytes,
)
from wd.model.sizes import count_parameters, training_flops

MFU = 0.35
"""The share of a card's peak that training is taken to reach, until it is measured there."""
CARDS = (1, 2, 4, 8, 16, 32, 64)
USABLE, RESERVED = 0.9, 1.5e9
"""Share of a card's memory that tensors can fill before it is in pieces; bytes that CUDA, cuBLAS
and NCCL take."""
ASSUMPTIONS = (
    "memory and batches: counted (tests/model/test_memory.py counts the same in a real pass), in "
    "bfloat16: precision float32 takes about twice as much for a batch, and many times the hours",
    f"usable: {USABLE:.0%} of the card, less {RESERVED / 1e9:g} GB for CUDA and NCCL: assumed",
    "hours: counted FLOPs at one MFU on any number of cards: assumed, not measured; without "
    "validation, decoding, reading, generating in phase 1, and the cards' exchange",
)


@dataclass(frozen=True)
class _Stage:
    """A training, and what it keeps in memory beside its batch."""

    key: str
    """The section of its settings."""
    model: ModelConfig
    config: TrainingConfig
    parameters: int
    """That are trained."""
    frozen: int = 0
    """Bytes of a generator's frozen weights and of the student that it generates."""
    guide: ModelConfig | None = None
    """The teacher that runs beside it."""

    @property
    def pieces(self) -> PieceBytes:
        """Bytes per piece; a guide's logits and their comparison come on top."""
        own = piece_bytes(self.model)
        if self.guide is None:
            return own
        more = DIVERGENCE_PER_WORD * self.model.target_vocabulary
        return PieceBytes(own.activations, own.loss + more)

    def fixed(self, shares: int) -> dict[str, int]:
        """Return what a card holds whatever its batch is, in bytes by kind.

        `shares`: cards that spread it, 1 for none. A generator is spread by none.
        """
        averaged, spreads = self.config.ema_decay is not None, shares > 1
        spreads_model = spreads and not self.frozen
        held = state_bytes(
            self.parameters, averaged=averaged, shares=shares if spreads_model else 1
        )
        held["rounded weights"] = rounded_bytes(self.model)
        held["loss, a block"] = loss_block_bytes(self.model, LOSS_BLOCK)
        if self.frozen:
            held["frozen and generated"] = self.frozen
        if spreads_model:
            held["gathered"] = gathered_bytes(self.model, trained=True)
        if self.guide is not None:
            teacher = 4 * count_parameters(self.guide)
            gathered = gathered_bytes(self.guide, trained=False) if spreads else 0
            held["teacher beside it"] = -(-teacher // shares) + gathered + rounded_bytes(self.guide)
        return held

    def flops(self, length: int) -> int:
        """Return FLOPs per target piece."""
        return training_flops(self.model, length, self.guide)


def plan_gpu(recipe: Recipe, card: Gpu, *, mfu: float = MFU, length: int = 25) -> dict[str, Any]:
    """Return memory, fitting batches and hours of a recipe's trainings on cards of one kind."""
    stages = _stages(recipe)
    room = USABLE * card.memory * 1e9 - RESERVED
    planned = {
        name: _planned(each, recipe, card, room, mfu, length) for name, each in stages.items()
    }
    return {
        "card": asdict(card),
        "usable_gb": round(room / 1e9, 1),
        "mfu": mfu,
        "assumptions": list(ASSUMPTIONS),
        "batch_tokens": recipe.shards.batch_tokens,
        "stages": planned,
        "settings": list(_settings(recipe, stages, room)),
    }


def _stages(recipe: Recipe) -> dict[str, _Stage]:
    teacher, own = recipe.teacher_model, recipe.teacher.training
    taught = _Stage("teacher.training", teacher, own, count_parameters(teacher))
    before = {
        f"{phase} of {hop.student}": stage
        for hop in recipe.hops[:-1]
        for phase, stage in _phases(hop).items()
    }
    return (
        ({} if recipe.teacher.source else {"teacher": taught})
        | before
        | _phases(recipe)
        | {"kd_student": _fine_tuned(recipe, "kd")}
    )


def _phases(recipe: Recipe) -> dict[str, _Stage]:
    teacher, student = recipe.taught_by, recipe.student_model
    grouping, count = recipe.generator.grouping, count_parameters(student)
    classes = generable_classes(teacher, student, grouping)
    learned = sum(own_parameters(each, grouping) for each in classes)
    learned += sum(each.parameters for each in map_sizes(classes, grouping))
    generated = frozen_bytes(classes, grouping) + GENERATED * count
    first, guide = recipe.generator.training, recipe.guide
    return {
        "generator": _Stage("generator.training", student, first, learned, generated, guide),
        "student": _fine_tuned(recipe, "wd"),
    }


def _fine_tuned(recipe: Recipe, method: Method) -> _Stage:
    model, config = recipe.student_model, recipe.student_training(method)
    return _Stage("fine_tuning", model, config, count_parameters(model), guide=recipe.guide)


def _planned(
    stage: _Stage, recipe: Recipe, card: Gpu, room: float, mfu: float, length: int
) -> dict[str, Any]:
    shares = max(recipe.ray.workers, 2)
    tokens = stage.config.batches_per_update * recipe.shards.batch_tokens
    seconds = stage.config.updates * tokens * stage.flops(length) / (card.tflops * 1e12 * mfu)
    pieces = stage.pieces
    return {
        "pieces_per_update": tokens,
        "activation_bytes_per_piece": round(pieces.activations),
        "loss_bytes_per_piece": pieces.loss,
        "ddp": _memory(stage, recipe, room, 1),
        "sharded": {"cards": shares} | _memory(stage, recipe, room, shares),
        "hours": {str(cards): round(seconds / 3600 / cards, 2) for cards in CARDS},
        "exchanged_mb_per_update": round(2 * 4 * stage.parameters / 1e6),
    }


def _memory(stage: _Stage, recipe: Recipe, room: float, shares: int) -> dict[str, Any]:
    """Return GB by kind and in all at the recipe's batches, and the largest batch that fits."""
    fixed = stage.fixed(shares)
    batch = recipe.shards.batch_tokens * stage.pieces.total
    total = sum(fixed.values()) + batch
    return {
        "gb": {kind: round(size / 1e9, 2) for kind, size in (fixed | {"batch": batch}).items()},
        "total_gb": round(total / 1e9, 2),
        "fits": total <= room,
        "largest_batch_tokens": _largest(stage, room, shares),
    }


def _largest(stage: _Stage, room: float, shares: int = 1) -> int:
    """Return the most pieces per batch that fit, 0 if not one does."""
    return max(0, int((room - sum(stage.fixed(shares).values())) / stage.pieces.total))


def _settings(recipe: Recipe, stages: dict[str, _Stage], room: float) -> Iterator[dict[str, Any]]:
    """Yield, by number of cards, the largest equal batches that fit all stages.

    Their number times their size is what the recipe's update has, so the update stays.
    """
    most = min(_largest(each, room) for each in stages.values())
    batches = {each.config.batches_per_update for each in stages.values()}
    if len(batches) > 1:
        return  # one size of batches serves all stages
    pieces = batches.pop() * recipe.shards.batch_tokens
    for cards in CARDS:
        if pieces % cards:
            return
        each = next((n for n in range(1, pieces + 1) if _fits(pieces, cards * n, most)), None)
        if each is None or pieces // (cards * each) < recipe.shards.max_length:
            return  # long sentences would be left out
        yield {
            "ray.workers": cards,
            "shards.batch_tokens": pieces // (cards * each),
            "batches_per_update": cards * each,
        }


def _fits(pieces: int, batches: int, most: int) -> bool:
    return pieces % batches == 0 and pieces // batches <= most
