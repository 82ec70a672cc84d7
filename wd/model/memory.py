"""What a training takes of a GPU's memory, from configurations alone (no torch needed).

Bytes per piece hold for bfloat16 products under autocast with dropout, as on a GPU; each term is a
tensor that a forward pass keeps for its backward pass. A test counts them in a real one.
"""

from dataclasses import dataclass
from math import prod

from wd.config import ModelConfig, StackShape
from wd.model.sizes import count_parameters, tensor_shapes

FLOAT32, BFLOAT16, MASK = 4, 2, 1
"""Bytes of a number; a dropout mask has a byte for each."""
WEIGHT_AND_GRADIENT, ADAM = 2 * FLOAT32, 2 * FLOAT32
"""Bytes per trained parameter: itself and its gradient; the two moments."""
LOSS_PER_WORD = 3 * BFLOAT16
"""Bytes per target piece and word of the vocabulary when the loss's gradient is made: logits, and
their gradient in blocks of rows and joined."""
DIVERGENCE_PER_WORD = BFLOAT16
"""The same of the comparison with a teacher's logits, on top."""
LOSS_BLOCK = 2**26
"""So many numbers are in a block; four float32 copies of it exist at most."""
GENERATED = 3 * FLOAT32
"""Bytes per weight that a generator makes: itself, its gradient, and what both are made from."""


@dataclass(frozen=True)
class PieceBytes:
    """What one more piece of padded source, with one of padded target, takes."""

    activations: float
    """Kept from the forward pass for the backward pass."""
    loss: float
    """On top of them when most is taken, as the backward pass begins."""

    @property
    def total(self) -> float:
        """Both: a batch's pieces times this is what it needs."""
        return self.activations + self.loss


def piece_bytes(config: ModelConfig) -> PieceBytes:
    """Return what training a model takes per piece of a batch, as many target as source pieces."""
    encoder, decoder = config.encoder, config.decoder
    kept = encoder.layers * _encoder_layer(encoder, config)
    kept += decoder.layers * _decoder_layer(decoder, encoder.d_model, config)
    for stack in (encoder, decoder):
        kept += stack.d_model * (FLOAT32 + MASK)  # the embedding's sum, and its dropout
        kept += 2 * 8  # its ids, twice
        if config.norm == "pre":
            kept += stack.d_model * FLOAT32
    kept += decoder.d_model * BFLOAT16  # what the output projection multiplies
    return PieceBytes(kept, LOSS_PER_WORD * config.target_vocabulary)


def _residual(width: int) -> int:
    """Return what a residual connection keeps: the mask, and the norm's input with its moments."""
    return width * (MASK + FLOAT32) + 2 * FLOAT32


def _encoder_layer(stack: StackShape, config: ModelConfig) -> int:
    return _self_attention(stack) + _feed_forward(stack, config) + 2 * _residual(stack.d_model)


def _decoder_layer(stack: StackShape, memory: int, config: ModelConfig) -> int:
    width = stack.d_model
    # Query and its input, keys and values and theirs, the mixture, its logsumexp per head.
    cross = BFLOAT16 * (2 * width + 2 * width + memory + width) + FLOAT32 * stack.heads
    return (
        _self_attention(stack) + cross + _feed_forward(stack, config) + 3 * _residual(stack.d_model)
    )


def _self_attention(stack: StackShape) -> int:
    """Input, queries, keys, values and the mixture; a logsumexp per head."""
    return BFLOAT16 * 5 * stack.d_model + FLOAT32 * stack.heads


def _feed_forward(stack: StackShape, config: ModelConfig) -> int:
    """Input, and what the activation puts out; all but ReLU also keep what they took in."""
    inner = 1 if config.activation == "relu" else 2
    return BFLOAT16 * (stack.d_model + inner * stack.feed_forward)


def loss_block_bytes(config: ModelConfig, pieces: int) -> int:
    """Return what the loss of a batch takes whatever its size, beside what each piece takes."""
    return 4 * FLOAT32 * min(LOSS_BLOCK, pieces * config.target_vocabulary)


def rounded_bytes(config: ModelConfig) -> int:
    """Return the bytes of the bfloat16 copies of what products multiply, kept during a batch."""
    shapes = tensor_shapes(config)
    tables = ("source_embedding.weight", "target_embedding.weight", "output_projection.weight")
    multiplied = sum(prod(shape) for name, shape in shapes.items() if name not in tables)
    return BFLOAT16 * (multiplied + config.target_vocabulary * config.decoder.d_model)


def state_bytes(parameters: int, *, averaged: bool, shares: int = 1) -> dict[str, int]:
    """Return the bytes of what is trained, by what it is; `shares`: workers that spread it."""
    mine = -(-parameters // shares)
    state = {"weights": FLOAT32 * mine, "gradients": FLOAT32 * mine, "adam": ADAM * mine}
    return state | ({"moving_average": FLOAT32 * mine} if averaged else {})


def gathered_bytes(config: ModelConfig, *, trained: bool) -> int:
    """Return what a worker holds of a spread model while it runs, beside its share.

    Tables and final norms, two layers (the next one is gathered ahead), and as much of gradients.
    """
    outside, layers = _outside_and_layers(config)
    return FLOAT32 * (outside + 2 * max(layers)) * (2 if trained else 1)


def _outside_and_layers(config: ModelConfig) -> tuple[int, tuple[int, int]]:
    """Return the parameters outside of all layers, and those of a layer of either stack."""
    whole = count_parameters(config)
    layers = []
    for stack in ("encoder", "decoder"):
        shape: StackShape = getattr(config, stack)
        more = shape.model_copy(update={"layers": shape.layers + 1})
        layers.append(count_parameters(config.model_copy(update={stack: more})) - whole)
    inside = config.encoder.layers * layers[0] + config.decoder.layers * layers[1]
    return whole - inside, (layers[0], layers[1])
