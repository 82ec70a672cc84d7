"""Multi-head scaled dot-product attention (Vaswani et al. 2017, section 3.2)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from wd.model.paths import takes_gpu_path


class Attention(nn.Module):
    """Attention whose queries and memory may differ in width.

    Shapes: B sentences, Q query positions, M memory positions, H heads, D channels per head.
    """

    def __init__(self, d_model: int, heads: int, d_memory: int, *, biases: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(d_model, d_model, bias=biases)
        self.key = nn.Linear(d_memory, d_model, bias=biases)
        self.value = nn.Linear(d_memory, d_model, bias=biases)
        self.output = nn.Linear(d_model, d_model, bias=biases)
        for projection in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(projection.weight, gain=2**-0.5)
        nn.init.xavier_uniform_(self.output.weight)
        for projection in (self.query, self.key, self.value, self.output):
            if biases:
                nn.init.zeros_(projection.bias)

    def forward(self, x_BQE: Tensor, memory_BMF: Tensor, bias: Tensor | None) -> Tensor:
        """Attend from `x_BQE` to `memory_BMF`; `bias` (-inf where forbidden) is added to scores.

        `bias` broadcasts to [B, H, Q, M]; None: a position sees those up to its own, which takes a
        kernel that needs no mask. Returns [B, Q, E].
        """
        if x_BQE is memory_BMF:
            q_BQE, k_BME, v_BME = _project(x_BQE, self.query, self.key, self.value)
        else:
            q_BQE = self.query(x_BQE)
            k_BME, v_BME = _project(memory_BMF, self.key, self.value)
        q_BHQD, k_BHMD, v_BHMD = map(self._split, (q_BQE, k_BME, v_BME))
        mixed_BHQD = _attend(q_BHQD, k_BHMD, v_BHMD, bias)
        return self.output(mixed_BHQD.transpose(1, 2).flatten(2))

    def _split(self, x_BPE: Tensor) -> Tensor:
        return x_BPE.unflatten(2, (self.heads, -1)).transpose(1, 2)


def _project(x: Tensor, *maps: nn.Linear) -> tuple[Tensor, ...]:
    """Apply several linear maps to one input, in one product."""
    weight = torch.cat([each.weight for each in maps])
    bias = None if maps[0].bias is None else torch.cat([each.bias for each in maps])
    return functional.linear(x, weight, bias).chunk(len(maps), -1)


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    if bias is None or takes_gpu_path(q):
        return functional.scaled_dot_product_attention(
            q, k, v, attn_mask=bias, is_causal=bias is None
        )
    # On CPU the fused kernel loses to plain products at sentence lengths.
    scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(2, 3)) + bias
    return torch.matmul(scores.softmax(-1, dtype=torch.float32).to(v.dtype), v)
