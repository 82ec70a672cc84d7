"""Dropout (Srivastava et al. 2014) that does not wait for random numbers on the CPU."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from wd.model.paths import takes_gpu_path

_LEVELS = 2**16


class Dropout(nn.Module):
    """Zero each element with probability `p` while training; scale the others by 1 / (1 - p).

    On the CPU torch draws a word per element, one after another; here four elements share one
    draw of 64 bits, so that `p` counts in steps of 1/65536.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape and dtype of `x`."""
        if not self.training or not self.p:
            return x
        if torch.compiler.is_compiling():
            return functional.dropout(x, self.p)
        if takes_gpu_path(x):  # what the library function takes there, by its name
            return torch.native_dropout(x, self.p, True)[0]
        return x * _mask(x, round(self.p * _LEVELS))


def _mask(x: Tensor, dropped: int) -> Tensor:
    """Return zeros in `dropped` of 65536 places, elsewhere what keeps the mean."""
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    draws = words.view(torch.int16)[: x.numel()].view(x.shape)
    mask = torch.empty_like(x)
    torch.ge(draws, dropped - _LEVELS // 2, out=mask)
    return mask.mul_(_LEVELS / (_LEVELS - dropped))
