"""The device that the torch core's tests compute on: WD_TEST_DEVICE, or the CPU."""

import os
from functools import partial

import torch

from wd.config import TrainingConfig
from wd.training import world

ASKED = "WD_TEST_DEVICE" in os.environ
DEVICE = torch.device(os.environ.get("WD_TEST_DEVICE", "cpu"))
World = partial(world.World, device=DEVICE)
"""A process's place among the others, on that device."""
EXACT = {"deterministic": True} if "deterministic" in TrainingConfig.model_fields else {}
"""What lets a GPU give the same bits again; the CPU does anyway."""
