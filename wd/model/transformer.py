"""The encoder-decoder Transformer, with a decoder width of its own."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from wd.config import ModelConfig, StackShape
from wd.data.schema import PAD
from wd.model.dropout import Dropout
from wd.model.layers import DecoderLayer, EncoderLayer


def sinusoidal_positions(length: int, d_model: int) -> Tensor:
    """Return the position table [length, d_model]: sines in the first half, cosines after.

    Vaswani et al. 2017, section 3.5, with the halves apart instead of interleaved; an odd width
    ends in a zero.
    """
    half = d_model // 2
    rate = torch.exp(torch.arange(half) * -(math.log(10_000) / max(half - 1, 1)))
    angle_PC = torch.arange(length)[:, None] * rate
    return functional.pad(torch.cat([angle_PC.sin(), angle_PC.cos()], 1), (0, d_model % 2))


class _Stack(nn.Module):
    """What encoder and decoder share: layers, positions, dropout, and the final norm if any."""

    _positions: Tensor

    def __init__(self, shape: StackShape, layers: list[nn.Module], final_norm: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(shape.d_model) if final_norm else None
        self.register_buffer("_positions", torch.empty(0, shape.d_model), persistent=False)

    def embed(self, table: nn.Embedding, ids_BP: Tensor, dropout: nn.Module) -> Tensor:
        length, width = ids_BP.shape[1], table.weight.shape[1]
        if self._positions.shape[0] < length:
            table_PE = sinusoidal_positions(max(length, 256), width)
            self._positions = table_PE.to(table.weight.device)
        return dropout(table(ids_BP) * math.sqrt(width) + self._positions[:length])


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
        self.encoder = _Stack(
            encoder,
            [EncoderLayer(config, self._dropout) for _ in range(encoder.layers)],
            final_norm=config.norm == "pre",
        )
        self.decoder = _Stack(
            decoder,
            [DecoderLayer(config, self._dropout) for _ in range(decoder.layers)],
            final_norm=config.norm == "pre",
        )

    def forward(self, source_BS: Tensor, target_in_BT: Tensor) -> Tensor:
        """Return logits [B, T, V] for int64 piece ids; padding in the source is masked."""
        return self.decode(target_in_BT, self.encode(source_BS), source_BS)

    def encode(self, source_BS: Tensor) -> Tensor:
        """Return the encoder's output [B, S, E]."""
        padding = _padding_bias(source_BS)
        x_BSE = self.encoder.embed(self.source_embedding, source_BS, self._dropout)
        for layer in self.encoder.layers:
            x_BSE = layer(x_BSE, padding)
        return x_BSE if self.encoder.norm is None else self.encoder.norm(x_BSE)

    def decode(self, target_in_BT: Tensor, memory_BSE: Tensor, source_BS: Tensor) -> Tensor:
        """Return logits [B, T, V]; position t sees the target's positions up to t."""
        padding = _padding_bias(source_BS)
        causal_TT = _causal_bias(target_in_BT.shape[1], target_in_BT.device)
        table = self.target_embedding or self.source_embedding
        x_BTD = self.decoder.embed(table, target_in_BT, self._dropout)
        for layer in self.decoder.layers:
            x_BTD = layer(x_BTD, memory_BSE, causal_TT, padding)
        if self.decoder.norm is not None:
            x_BTD = self.decoder.norm(x_BTD)
        return functional.linear(x_BTD, (self.output_projection or table).weight)


def _embedding(vocabulary: int, width: int) -> nn.Embedding:
    embedding = nn.Embedding(vocabulary, width)
    nn.init.normal_(embedding.weight, std=width**-0.5)
    return embedding


def _padding_bias(ids_BS: Tensor) -> Tensor:
    """0 where there is a token, -inf at padding: [B, 1, 1, S]."""
    bias = torch.zeros(ids_BS.shape, device=ids_BS.device)
    return bias.masked_fill(ids_BS == PAD, -math.inf)[:, None, None]


def _causal_bias(length: int, device: torch.device) -> Tensor:
    """0 on and below the diagonal, -inf above: [T, T]."""
    return torch.full((length, length), -math.inf, device=device).triu(1)
