"""Where a training process stands among the others, and on what it computes."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class World:
    """A process's rank, how many there are, and its device; by default it is alone, on the CPU."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return the context for the forward pass; `auto` picks what the hardware multiplies fast."""
    if precision == "auto":
        precision = "bfloat16" if _multiplies_bfloat16(device) else "float32"
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Without these instructions a bfloat16 product is over a hundred times slower than float32.
    flags = torch.cpu.get_capabilities()
    return bool(flags.get("avx512_bf16") or flags.get("amx_bf16"))
