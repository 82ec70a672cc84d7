"""Bytes computed from a configuration are those of a real forward and backward pass."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.model.live_bytes import LiveBytes
from wd.config import (
    GeneratorConfig,
    GroupingConfig,
    ModelConfig,
    ObjectiveConfig,
    StackOverride,
    StackShape,
    StudentShape,
    TrainingConfig,
)
from wd.data.batches import Batch
from wd.generator.generator import ParameterGenerator
from wd.model.memory import (
    DIVERGENCE_PER_WORD,
    GENERATED,
    LOSS_BLOCK,
    gathered_bytes,
    loss_block_bytes,
    piece_bytes,
    rounded_bytes,
    state_bytes,
)
from wd.model.paths import gpu_paths
from wd.model.sizes import count_parameters
from wd.model.transformer import Transformer
from wd.training import lean_loss
from wd.training.generator_trainee import GeneratorTrainee
from wd.training.objective import Guide, Objective
from wd.training.world import World

WIDE = StackShape(layers=3, d_model=64, heads=4, feed_forward=256)
NARROW = StackShape(layers=1, d_model=32, heads=2, feed_forward=96)


def model(**changes: Any) -> ModelConfig:
    shape = {"encoder": WIDE, "decoder": WIDE, "source_vocabulary": 60, "target_vocabulary": 60}
    return ModelConfig(**shape | changes)


def counted(
    config: ModelConfig, sentences: int, objective: Objective | None = None
) -> tuple[int, int]:
    """Return the bytes alive after the forward pass, and at most, as on a GPU; 32 pieces each."""
    transformer = Transformer(config, dropout=0.1).train()
    for parameter in transformer.parameters():
        parameter.grad = torch.zeros_like(parameter)  # they are there all the time
    ids = torch.randint(4, 60, (sentences, 32))
    transformer(ids[:1], ids[:1])  # positions are made once
    with gpu_paths(), LiveBytes() as live:
        with torch.autocast("cpu", torch.bfloat16):
            kept = live.now

            def forward(*inputs: Tensor) -> Tensor:
                nonlocal kept
                logits: Tensor = transformer(*inputs)
                kept = live.now - logits.nbytes
                return logits

            loss = (objective or Objective(0.1))(transformer, forward, Batch(ids, ids, ids))
        loss.backward()
    return kept, live.peak


@pytest.mark.parametrize(
    "config",
    [
        model(),
        model(norm="pre"),
        model(activation="gelu"),
        model(activation="silu", output_bias=True),
        model(decoder=NARROW),
        model(tied_embeddings="all", biases=False),
    ],
    ids=["post", "pre", "gelu", "silu", "narrow", "tied"],
)
def test_what_a_piece_keeps_is_what_is_counted(config: ModelConfig) -> None:
    few, many = counted(config, 16)[0], counted(config, 48)[0]
    assert piece_bytes(config).activations == pytest.approx((many - few) / (32 * 32), rel=0.1)
    assert rounded_bytes(config) == pytest.approx(few - (many - few) / 2, rel=0.1)


@pytest.mark.parametrize("vocabulary", [2000, 4000])
def test_what_the_loss_takes_is_what_is_counted(
    vocabulary: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = 2**18
    assert lean_loss._BLOCK == LOSS_BLOCK
    monkeypatch.setattr(lean_loss, "_BLOCK", block)
    config = model(target_vocabulary=vocabulary)
    few, many = counted(config, 16)[1], counted(config, 48)[1]
    assert piece_bytes(config).total == pytest.approx((many - few) / (32 * 32), rel=0.15)


def test_a_block_of_the_loss_takes_no_more_than_is_told() -> None:
    config = model(target_vocabulary=4000)
    few = counted(config, 1)[1]  # 32 pieces are one block
    kept = 32 * piece_bytes(config).activations + rounded_bytes(config)
    assert few - kept <= loss_block_bytes(config, 32)


def test_what_a_comparison_with_a_teacher_takes_is_what_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lean_loss, "_BLOCK", 2**18)
    config = model(target_vocabulary=4000)
    settings = ObjectiveConfig(word_kd=0.5, hidden_states=0.5)
    guide = Guide(Transformer(config), config, settings, GroupingConfig())
    few, many = (counted(config, size, Objective(0.1, guide))[1] for size in (16, 48))
    told = piece_bytes(config).total + DIVERGENCE_PER_WORD * config.target_vocabulary
    assert told == pytest.approx((many - few) / (32 * 32), rel=0.15)


def test_what_a_generator_makes_takes_what_is_told() -> None:
    deep = WIDE.model_copy(update={"layers": 6})
    teacher = model(encoder=deep, decoder=deep, target_vocabulary=1000, source_vocabulary=1000)
    student = StudentShape(decoder=StackOverride(layers=1, d_model=32)).of(teacher)
    weights = Transformer(teacher).state_dict()
    generator = ParameterGenerator(teacher, student, weights, GeneratorConfig())
    trainee = GeneratorTrainee(
        generator, TrainingConfig(precision="bfloat16"), Objective(0.1), World()
    )
    for parameter in generator.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    ids = torch.full((1, 2), 5)
    with gpu_paths(), LiveBytes() as live:
        trainee.backward([Batch(ids, ids, ids)] * 2, 1.0)
    told = GENERATED * count_parameters(student) + rounded_bytes(student)
    assert told == pytest.approx(live.peak, rel=0.25)


def test_the_state_is_adam_s() -> None:
    config = model()
    transformer = Transformer(config)
    optimizer = torch.optim.AdamW(transformer.parameters(), fused=True)
    for parameter in transformer.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    moments = sum(
        state[key].nbytes for state in optimizer.state.values() for key in ("exp_avg", "exp_avg_sq")
    )
    weights = sum(parameter.nbytes for parameter in transformer.parameters())
    found = state_bytes(count_parameters(config), averaged=False)
    assert found == {"weights": weights, "gradients": weights, "adam": moments}
    halves = state_bytes(count_parameters(config), averaged=True, shares=2)
    assert sum(halves.values()) == pytest.approx(10 * weights / 4, rel=1e-3)


def test_what_is_gathered_is_tables_and_two_layers() -> None:
    config = model(norm="pre", decoder=NARROW)
    transformer = Transformer(config)
    size = {name: parameter.nbytes for name, parameter in transformer.named_parameters()}
    outside = sum(count for name, count in size.items() if ".layers." not in name)
    layers = [
        sum(count for name, count in size.items() if name.startswith(f"{stack}.layers.0."))
        for stack in ("encoder", "decoder")
    ]
    assert gathered_bytes(config, trained=False) == outside + 2 * max(layers)
    assert gathered_bytes(config, trained=True) == 2 * (outside + 2 * max(layers))
