"""The encoder-decoder Transformer, with a decoder width of its own."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from wd.config import MAX_POSITIONS, ModelConfig, ModelShape, StackShape
from wd.data.schema import PAD
from wd.model.dropout import Dropout
from wd.model.layers import DecoderLayer, EncoderLayer
from wd.model.paths import product_dtype, takes_gpu_path

ALIGNED = 8
"""Rows of a bfloat16 matrix must begin at a multiple of 16 bytes for a GPU's fast kernels."""


def sinusoidal_positions(
    length: int, d_model: int, kind: str = "tensor2tensor", first: int = 0
) -> Tensor:
    """Return the position table [length, d_model]: sines in the first half, cosines after.

    Vaswani et al. 2017, section 3.5, with the halves apart instead of interleaved. `kind` and
    `first` are a shape's `positions` and `first_position`. An odd width ends in a zero; by the
    `paper` it has a sine more.
    """
    half = d_model // 2
    if kind == "paper":
        sines = torch.arange(d_model - half, dtype=torch.float64)
        angle_PC = torch.arange(first, first + length)[:, None] * 10_000 ** (-2 * sines / d_model)
        return torch.cat([angle_PC.sin(), angle_PC[:, :half].cos()], 1).float()
    rate = torch.exp(torch.arange(half) * -(math.log(10_000) / max(half - 1, 1)))
    angle_PC = torch.arange(first, first + length)[:, None] * rate
    return functional.pad(torch.cat([angle_PC.sin(), angle_PC.cos()], 1), (0, d_model % 2))


def position_table(config: ModelShape, shape: StackShape) -> Tensor:
    """Return what a model adds to the embeddings of one of its stacks: [MAX_POSITIONS, d_model]."""
    return sinusoidal_positions(
        MAX_POSITIONS, shape.d_model, config.positions, config.first_position
    )


class _Stack(nn.Module):
    """What encoder and decoder share: layers, positions, dropout, and the final norm if any."""

    _positions: Tensor

    def __init__(self, config: ModelConfig, shape: StackShape, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(shape.d_model) if config.norm == "pre" else None
        self._scale = math.sqrt(shape.d_model) if config.scale_embeddings else 1.0
        self.register_buffer("_positions", position_table(config, shape), persistent=False)

    def embed(self, table: nn.Embedding, ids_BP: Tensor, dropout: nn.Module) -> Tensor:
        return dropout(table(ids_BP) * self._scale + self._positions[: ids_BP.shape[1]])


class Transformer(nn.Module):
    """Vaswani et al. 2017, pre- or post-norm, with or without biases.

    A table that `tied_embeddings` makes redundant does not exist; so a state dict holds every
    weight once. Shapes: B sentences, S source and T target positions, E encoder width, V target
    vocabulary.
    """

    def __init__(self, config: ModelConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        encoder, decoder = config.encoder, config.decoder
        self._dropout = Dropout(dropout)
        self.source_embedding = _embedding(config.source_vocabulary, encoder.d_model)
        self.target_embedding = self.output_projection = None
        if config.tied_embeddings != "all":
            self.target_embedding = _embedding(config.target_vocabulary, decoder.d_model)
        if config.tied_embeddings == "none":
            self.output_projection = nn.Linear(
                decoder.d_model, config.target_vocabulary, bias=False
            )
            nn.init.normal_(self.output_projection.weight, std=decoder.d_model**-0.5)
        self.output_bias = None
        if config.output_bias:
            self.output_bias = nn.Parameter(torch.zeros(config.target_vocabulary))
        self.encoder = _Stack(
            config, encoder, [EncoderLayer(config, self._dropout) for _ in range(encoder.layers)]
        )
        self.decoder = _Stack(
            config, decoder, [DecoderLayer(config, self._dropout) for _ in range(decoder.layers)]
        )

    def forward(self, source_BS: Tensor, target_in_BT: Tensor) -> Tensor:
        """Return logits [B, T, V] for int64 piece ids; padding in the source is masked."""
        padding = self._padding_bias(source_BS)
        return self._decode(target_in_BT, self._encode(source_BS, padding), padding)

    def encode(self, source_BS: Tensor) -> Tensor:
        """Return the encoder's output [B, S, E]."""
        return self._encode(source_BS, self._padding_bias(source_BS))

    def decode(self, target_in_BT: Tensor, memory_BSE: Tensor, source_BS: Tensor) -> Tensor:
        """Return logits [B, T, V]; position t sees the target's positions up to t."""
        return self._decode(target_in_BT, memory_BSE, self._padding_bias(source_BS))

    def _encode(self, source_BS: Tensor, padding: Tensor) -> Tensor:
        x_BSE = self.encoder.embed(self.source_embedding, source_BS, self._dropout)
        for layer in self.encoder.layers:
            x_BSE = layer(x_BSE, padding)
        return x_BSE if self.encoder.norm is None else self.encoder.norm(x_BSE)

    def _decode(self, target_in_BT: Tensor, memory_BSE: Tensor, padding: Tensor) -> Tensor:
        causal_TT = None
        if not takes_gpu_path(target_in_BT):
            causal_TT = _causal_bias(target_in_BT.shape[1], target_in_BT.device)
        table = self.target_embedding or self.source_embedding
        x_BTD = self.decoder.embed(table, target_in_BT, self._dropout)
        for layer in self.decoder.layers:
            x_BTD = layer(x_BTD, memory_BSE, causal_TT, padding)
        if self.decoder.norm is not None:
            x_BTD = self.decoder.norm(x_BTD)
        return _logits(x_BTD, (self.output_projection or table).weight, self.output_bias)

    def _padding_bias(self, ids_BS: Tensor) -> Tensor:
        """0 where there is a token, -inf at padding: [B, 1, 1, S]; as products take it."""
        dtype = product_dtype(self.source_embedding.weight)
        bias = torch.zeros(ids_BS.shape, device=ids_BS.device)
        bias = bias.masked_fill(ids_BS == PAD, -math.inf)[:, None, None]
        return bias.to(dtype) if takes_gpu_path(ids_BS) else bias


def _logits(x_BTD: Tensor, table_VD: Tensor, bias_V: Tensor | None) -> Tensor:
    """Return logits [B, T, V]; on a GPU, the product of as many rows as its kernels like."""
    missing = -len(table_VD) % ALIGNED
    if not missing or not takes_gpu_path(x_BTD):
        return functional.linear(x_BTD, table_VD, bias_V)
    padded = functional.pad(table_VD, (0, 0, 0, missing))
    if bias_V is not None:
        bias_V = functional.pad(bias_V, (0, missing))
    return functional.linear(x_BTD, padded, bias_V)[..., : len(table_VD)]


def _embedding(vocabulary: int, width: int) -> nn.Embedding:
    embedding = nn.Embedding(vocabulary, width)
    nn.init.normal_(embedding.weight, std=width**-0.5)
    return embedding


def _causal_bias(length: int, device: torch.device) -> Tensor:
    """0 on and below the diagonal, -inf above: [T, T]."""
    return torch.full((length, length), -math.inf, device=device).triu(1)
