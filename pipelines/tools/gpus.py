"""Cards that a plan can be made for, by their makers' data sheets."""

from dataclasses import dataclass

from wd.errors import ConfigError, unknown


@dataclass(frozen=True)
class Gpu:
    """One card."""

    name: str
    memory: float
    """GB (10^9 bytes), as it is sold."""
    tflops: float
    """bfloat16 products, dense, summed in float32: 10^12 FLOP per second at most."""
    bandwidth: float
    """Of its memory: 10^9 bytes per second."""
    source: str


_CARDS = {
    "h100": Gpu("H100 SXM", 80, 989, 3350, "NVIDIA H100 data sheet"),
    "h100-pcie": Gpu("H100 PCIe", 80, 756, 2000, "NVIDIA H100 data sheet"),
    "h200": Gpu("H200 SXM", 141, 989, 4800, "NVIDIA H200 data sheet"),
    "a100-80": Gpu("A100 SXM 80 GB", 80, 312, 2039, "NVIDIA A100 data sheet"),
    "a100-40": Gpu("A100 SXM 40 GB", 40, 312, 1555, "NVIDIA A100 data sheet"),
    "l40s": Gpu("L40S", 48, 362, 864, "NVIDIA L40S data sheet"),
    "l4": Gpu("L4", 24, 121, 300, "NVIDIA L4 data sheet"),
    "a10": Gpu("A10", 24, 125, 600, "NVIDIA A10 data sheet"),
    "rtx-4090": Gpu("RTX 4090", 24, 165, 1008, "NVIDIA Ada architecture white paper"),
    "rtx-3090": Gpu("RTX 3090", 24, 71, 936, "NVIDIA GA102 architecture white paper"),
}
"""Cards that multiply bfloat16 natively; older ones (V100, T4) train in float32 only."""


def gpu(name: str) -> Gpu:
    """Return a card by its short name; raises ConfigError for one that is not known."""
    try:
        return _CARDS[name.lower()]
    except KeyError:
        raise ConfigError(unknown("card", name, _CARDS)) from None
