"""How big a model is, and what it costs, from its configuration alone (no torch needed)."""

from collections.abc import Iterator
from math import prod

from wd.config import ModelConfig, Quantization, StackShape

Shapes = dict[str, tuple[int, ...]]
OUTPUT_BIAS = "output_bias"
"""The number per word that is added to the logits; no width map changes it."""


def tensor_shapes(config: ModelConfig) -> Shapes:
    """Return name -> shape of every tensor in the model's state dict; a tied table stands once."""
    encoder, decoder = config.encoder, config.decoder
    shapes: Shapes = {"source_embedding.weight": (config.source_vocabulary, encoder.d_model)}
    target_table = (config.target_vocabulary, decoder.d_model)
    if config.tied_embeddings != "all":
        shapes["target_embedding.weight"] = target_table
    if config.tied_embeddings == "none":
        shapes["output_projection.weight"] = target_table
    if config.output_bias:
        shapes[OUTPUT_BIAS] = (config.target_vocabulary,)
    for layer in range(encoder.layers):
        shapes |= _layer(f"encoder.layers.{layer}", encoder, memory=None)
    for layer in range(decoder.layers):
        shapes |= _layer(f"decoder.layers.{layer}", decoder, memory=encoder.d_model)
    if config.norm == "pre":
        shapes |= _norm("encoder.norm", encoder.d_model) | _norm("decoder.norm", decoder.d_model)
    if not config.biases:
        return {name: shape for name, shape in shapes.items() if not is_bias(name)}
    return shapes


def is_bias(name: str) -> bool:
    """Whether a weight is the bias of a linear map; a norm's shift is none."""
    return name.endswith(".bias") and not name.endswith("norm.bias")


def count_parameters(config: ModelConfig) -> int:
    """Return the number of trained parameters; positions are not trained and do not count."""
    return sum(number * prod(shape) for number, shape in _counted(config))


def weight_bytes(config: ModelConfig, quantization: Quantization = "float32") -> int:
    """Return the bytes of the weights.

    int8 holds matrices and tables as one byte per weight and a float32 scale per row; vectors
    (biases, layer norms) stay float32.
    """
    if quantization.startswith("int8"):
        return sum(
            number * (prod(shape) + 4 * shape[0] if len(shape) == 2 else 4 * prod(shape))
            for number, shape in _counted(config)
        )
    return (4 if quantization == "float32" else 2) * count_parameters(config)


def _counted(config: ModelConfig) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield how many tensors of which shape there are; a stack's layers are all alike."""
    stacks = {stack: getattr(config, stack) for stack in ("encoder", "decoder")}
    shallow = {stack: shape.model_copy(update={"layers": 1}) for stack, shape in stacks.items()}
    for name, shape in tensor_shapes(config.model_copy(update=shallow)).items():
        stack, _, below = name.partition(".")
        yield stacks[stack].layers if below.startswith("layers.") else 1, shape


def encoder_flops(config: ModelConfig, length: int) -> int:
    """Return the forward FLOPs per source token of a sentence of `length` pieces.

    A multiply-add counts as two; norms, biases and the softmax are left out, as is usual.
    """
    stack = config.encoder
    return 2 * stack.layers * (_attention_macs(stack, length) + _feed_forward_macs(stack))


def decoder_flops(config: ModelConfig, length: int) -> int:
    """Return the forward FLOPs per target token, source and target both of `length` pieces.

    Counted as in training, all target positions at once. The keys and values of the
    cross-attention, made once per source token, are included.
    """
    stack = config.decoder
    width, memory = stack.d_model, config.encoder.d_model
    cross = 2 * width * width + 2 * width * memory + 2 * length * width
    layer = _attention_macs(stack, length) + cross + _feed_forward_macs(stack)
    return 2 * (stack.layers * layer + config.target_vocabulary * width)


def training_flops(config: ModelConfig, length: int, guide: ModelConfig | None = None) -> int:
    """Return forward and backward FLOPs per target token; the backward pass is two forwards.

    `guide`: a teacher that runs beside it, forward only.
    """
    beside = encoder_flops(guide, length) + decoder_flops(guide, length) if guide else 0
    return 3 * (encoder_flops(config, length) + decoder_flops(config, length)) + beside


def _attention_macs(stack: StackShape, length: int) -> int:
    return 4 * stack.d_model * stack.d_model + 2 * length * stack.d_model


def _feed_forward_macs(stack: StackShape) -> int:
    return 2 * stack.d_model * stack.feed_forward


def _layer(name: str, stack: StackShape, memory: int | None) -> Shapes:
    width = stack.d_model
    shapes = _attention(f"{name}.self_attention", width, width)
    if memory is not None:
        shapes |= _attention(f"{name}.cross_attention", width, memory)
    return (
        shapes
        | _linear(f"{name}.feed_forward.inner", stack.feed_forward, width)
        | _linear(f"{name}.feed_forward.outer", width, stack.feed_forward)
        | _norm(f"{name}.feed_forward_norm", width)
    )


def _attention(name: str, width: int, memory: int) -> Shapes:
    return (
        _linear(f"{name}.query", width, width)
        | _linear(f"{name}.key", width, memory)
        | _linear(f"{name}.value", width, memory)
        | _linear(f"{name}.output", width, width)
        | _norm(f"{name}_norm", width)
    )


def _linear(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}
