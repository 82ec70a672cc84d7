"""Encoder and decoder layers, pre- or post-norm."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from wd.config import ModelConfig, StackShape
from wd.model.attention import Attention

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "silu": functional.silu,
}


class FeedForward(nn.Module):
    """Two linear maps with an activation in between (Vaswani et al. 2017, section 3.3)."""

    def __init__(self, shape: StackShape, activation: str, *, biases: bool = True) -> None:
        super().__init__()
        self.inner = nn.Linear(shape.d_model, shape.feed_forward, bias=biases)
        self.outer = nn.Linear(shape.feed_forward, shape.d_model, bias=biases)
        self._activation = ACTIVATIONS[activation]
        for linear in (self.inner, self.outer):
            nn.init.xavier_uniform_(linear.weight)
            if biases:
                nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[..., d_model] -> [..., d_model]."""
        return self.outer(self._activation(self.inner(x)))


class _Layer(nn.Module):
    """Residual wiring that both kinds of layer share."""

    def __init__(self, norm: str, dropout: nn.Module) -> None:
        super().__init__()
        self._pre_norm = norm == "pre"
        self._dropout = dropout

    def _residual(self, x: Tensor, norm: nn.Module, block: Callable[[Tensor], Tensor]) -> Tensor:
        if self._pre_norm:
            return x + self._dropout(block(norm(x)))
        return norm(x + self._dropout(block(x)))


class EncoderLayer(_Layer):
    """Self-attention, then feed-forward."""

    def __init__(self, config: ModelConfig, dropout: nn.Module) -> None:
        super().__init__(config.norm, dropout)
        shape, biases = config.encoder, config.biases
        self.self_attention = Attention(shape.d_model, shape.heads, shape.d_model, biases=biases)
        self.self_attention_norm = nn.LayerNorm(shape.d_model)
        self.feed_forward = FeedForward(shape, config.activation, biases=biases)
        self.feed_forward_norm = nn.LayerNorm(shape.d_model)

    def forward(self, x_BSE: Tensor, padding: Tensor) -> Tensor:
        """[B, S, E] -> [B, S, E]; `padding` is the additive mask [B, 1, 1, S]."""
        x_BSE = self._residual(
            x_BSE, self.self_attention_norm, lambda x: self.self_attention(x, x, padding)
        )
        return self._residual(x_BSE, self.feed_forward_norm, self.feed_forward)


class DecoderLayer(_Layer):
    """Causal self-attention, attention to the encoder's output, then feed-forward."""

    def __init__(self, config: ModelConfig, dropout: nn.Module) -> None:
        super().__init__(config.norm, dropout)
        shape, biases = config.decoder, config.biases
        d_memory = config.encoder.d_model
        self.self_attention = Attention(shape.d_model, shape.heads, shape.d_model, biases=biases)
        self.self_attention_norm = nn.LayerNorm(shape.d_model)
        self.cross_attention = Attention(shape.d_model, shape.heads, d_memory, biases=biases)
        self.cross_attention_norm = nn.LayerNorm(shape.d_model)
        self.feed_forward = FeedForward(shape, config.activation, biases=biases)
        self.feed_forward_norm = nn.LayerNorm(shape.d_model)

    def forward(
        self, x_BTD: Tensor, memory_BSE: Tensor, causal: Tensor | None, padding: Tensor
    ) -> Tensor:
        """[B, T, D] -> [B, T, D]; `causal` [T, T] and `padding` [B, 1, 1, S] are additive.

        Without `causal` a kernel is used that sees to it.
        """
        x_BTD = self._residual(
            x_BTD, self.self_attention_norm, lambda x: self.self_attention(x, x, causal)
        )
        x_BTD = self._residual(
            x_BTD,
            self.cross_attention_norm,
            lambda x: self.cross_attention(x, memory_BSE, padding),
        )
        return self._residual(x_BTD, self.feed_forward_norm, self.feed_forward)
