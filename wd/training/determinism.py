"""Training that gives the same bits again on a GPU."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from wd.config import TrainingConfig
from wd.errors import ConfigError

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""cuBLAS reads it when a process first multiplies on a GPU; with it products have one order."""
_FIXED = (":4096:8", ":16:8")
"""Either is deterministic. The first takes 32 MiB, as torch does by itself on an H100."""


def fix_order(device: torch.device) -> None:
    """Give products on a GPU one order; whoever multiplies first in a process must have said so."""
    if device.type == "cuda":
        os.environ.setdefault(WORKSPACE, _FIXED[0])


@contextmanager
def reproducible(config: TrainingConfig, device: torch.device) -> Iterator[None]:
    """Let torch use only kernels that sum in a fixed order, if the config says so.

    The environment keeps cuBLAS's setting, which a process has only one of, so every training on a
    GPU leaves it: a later one in the same process may need it. Raises ConfigError if the
    environment has another that is needed.
    """
    fix_order(device)
    if not config.deterministic:
        yield
        return
    if os.environ.get(WORKSPACE, _FIXED[0]) not in _FIXED:
        raise ConfigError(
            f"deterministic: the environment's {WORKSPACE} is {os.environ[WORKSPACE]}; unset it, "
            f"or set it to {_FIXED[0]}"
        )
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
