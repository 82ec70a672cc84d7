"""Bytes computed from a configuration are those of a real forward and backward pass."""

from typing import Any

import pytest
import torch

from tests.model.live_bytes import LiveBytes
from wd.config import ModelConfig, StackShape
from wd.model.memory import gathered_bytes, piece_bytes, rounded_bytes, state_bytes
from wd.model.paths import gpu_paths
from wd.model.sizes import count_parameters
from wd.model.transformer import Transformer
from wd.training.loss import cross_entropy

WIDE = StackShape(layers=3, d_model=64, heads=4, feed_forward=256)
NARROW = StackShape(layers=1, d_model=32, heads=2, feed_forward=96)


def model(**changes: Any) -> ModelConfig:
    shape = {"encoder": WIDE, "decoder": WIDE, "source_vocabulary": 60, "target_vocabulary": 60}
    return ModelConfig(**shape | changes)


def counted(config: ModelConfig, sentences: int, length: int = 32) -> tuple[int, int]:
    """Return the bytes alive after the forward pass, and at most, as on a GPU."""
    transformer = Transformer(config, dropout=0.1).train()
    for parameter in transformer.parameters():
        parameter.grad = torch.zeros_like(parameter)  # they are there all the time
    ids = torch.randint(4, 60, (sentences, length))
    transformer(ids[:1], ids[:1])  # positions are made once
    with gpu_paths(), LiveBytes() as live:
        with torch.autocast("cpu", torch.bfloat16):
            logits = transformer(ids, ids)
            kept = live.now - logits.nbytes
            loss = cross_entropy(logits, ids, 0.1)
        del logits
        loss.backward()
    return kept, live.peak


@pytest.mark.parametrize(
    "config",
    [
        model(),
        model(norm="pre"),
        model(activation="gelu"),
        model(decoder=NARROW),
        model(tied_embeddings="all", biases=False),
    ],
    ids=["post", "pre", "gelu", "narrow", "tied"],
)
def test_what_a_piece_keeps_is_what_is_counted(config: ModelConfig) -> None:
    few, many = counted(config, 16)[0], counted(config, 48)[0]
    assert piece_bytes(config).activations == pytest.approx((many - few) / (32 * 32), rel=0.1)
    assert rounded_bytes(config) == pytest.approx(few - (many - few) / 2, rel=0.1)


@pytest.mark.parametrize("vocabulary", [2000, 4000])
def test_what_the_loss_takes_is_what_is_counted(vocabulary: int) -> None:
    config = model(target_vocabulary=vocabulary)
    few, many = counted(config, 16)[1], counted(config, 48)[1]
    assert piece_bytes(config).total == pytest.approx((many - few) / (32 * 32), rel=0.15)


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
