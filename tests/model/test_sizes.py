"""Sizes computed from a configuration are those of the real model."""

import json
import subprocess
import sys
import time
from itertools import product
from typing import Any

import pytest
import torch

from wd.config import ModelConfig, StackShape
from wd.model.sizes import (
    Quantization,
    count_parameters,
    decoder_flops,
    encoder_flops,
    tensor_shapes,
    training_flops,
    weight_bytes,
)
from wd.model.transformer import Transformer

WIDE = StackShape(layers=3, d_model=12, heads=3, feed_forward=20)
NARROW = StackShape(layers=1, d_model=8, heads=2, feed_forward=10)


def model(decoder: StackShape = WIDE, **changes: Any) -> ModelConfig:
    return ModelConfig(
        encoder=WIDE, decoder=decoder, source_vocabulary=40, target_vocabulary=40, **changes
    )


@pytest.mark.parametrize(
    "config",
    [
        model(decoder, norm=norm, tied_embeddings=tied, biases=biases)
        for decoder, norm, tied, biases in product(
            (WIDE, NARROW), ("pre", "post"), ("none", "decoder", "all"), (True, False)
        )
        if not (tied == "all" and decoder is NARROW)
    ]
    + [model(output_bias=True), model(tied_embeddings="all", output_bias=True, biases=False)],
    ids=lambda config: (
        f"{config.norm}-{config.tied_embeddings}-{config.decoder.layers}-{config.biases}"
    ),
)
def test_shapes_and_parameters_are_the_models(config: ModelConfig) -> None:
    transformer = Transformer(config)
    state = transformer.state_dict()
    assert tensor_shapes(config) == {name: tuple(tensor.shape) for name, tensor in state.items()}
    assert count_parameters(config) == sum(weight.numel() for weight in transformer.parameters())
    assert weight_bytes(config) == sum(tensor.nbytes for tensor in state.values())


def test_flops_are_what_torch_counts() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    config, sentences, length = model(NARROW), 2, 7
    transformer = Transformer(config).eval()
    ids = torch.randint(4, 40, (sentences, length))
    with torch.no_grad(), FlopCounterMode(display=False) as encoder:
        memory = transformer.encode(ids)
    with torch.no_grad(), FlopCounterMode(display=False) as decoder:
        transformer.decode(ids, memory, ids)
    tokens = sentences * length
    assert encoder.get_total_flops() == tokens * encoder_flops(config, length)
    assert decoder.get_total_flops() == tokens * decoder_flops(config, length)
    forward = encoder_flops(config, length) + decoder_flops(config, length)
    assert training_flops(config, length) == 3 * forward


def test_quantised_bytes() -> None:
    config = model()
    matrices = [shape for shape in tensor_shapes(config).values() if len(shape) == 2]
    weights = sum(rows * columns for rows, columns in matrices)
    vectors = count_parameters(config) - weights
    scales = sum(rows for rows, _ in matrices)
    assert weight_bytes(config, "int8") == weights + 4 * (vectors + scales)
    assert weight_bytes(config, "float16") * 2 == weight_bytes(config)


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_a_deep_stack_is_counted_as_fast_as_a_flat_one(quantization: Quantization) -> None:
    def deep(layers: int) -> ModelConfig:  # deeper than a config says that it may be
        stack = WIDE.model_copy(update={"layers": layers})
        return model().model_copy(update={"encoder": stack, "decoder": stack})

    started = time.monotonic()
    for size in (count_parameters, lambda config: weight_bytes(config, quantization)):
        one, two, many = (size(deep(layers)) for layers in (1, 2, 10**9))
        assert many == one + (two - one) * (10**9 - 1)
    assert time.monotonic() - started < 1


def test_a_plan_needs_neither_torch_nor_ray_nor_mlflow() -> None:
    code = (
        "import sys; from pipelines.commands import cli\n"
        "sys.argv[1:] = ['plan', 'wmt14-ende-base', 'student=tiny', '--json']\n"
        "try: cli.main()\n"
        "finally: print([m for m in ('torch', 'ray', 'mlflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    plan, heavy = done.stdout.splitlines()
    assert heavy == "[]"
    told = json.loads(plan)
    assert told["compression"] == pytest.approx(0.57, abs=0.015)
    assert told["student_parameters"] < told["teacher_parameters"]
