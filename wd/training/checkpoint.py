"""Checkpoints of a run: written whole or not at all, newest first, a damaged one skipped."""

import json
import shutil
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wd.errors import ArtifactError
from wd.model.directory import load_weights, save_weights

WEIGHTS, OPTIMIZER, STATE = "weights.safetensors", "optimizer.safetensors", "state.json"


@dataclass(frozen=True)
class CheckpointFolder:
    """The checkpoints of one run: `update-00001000/`, the `keep` newest.

    The order of the data and the random numbers of an update follow from its number alone, so
    weights, Adam's moments and the number are all the state that there is.
    """

    path: Path
    keep: int

    def save(
        self,
        update: int,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        history: list[dict[str, Any]],
    ) -> None:
        """Write the state after `update` optimiser steps; older optimiser states are dropped."""
        final = self.path / f"update-{update:08d}"
        partial = final.with_name(f".{final.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_weights(partial / WEIGHTS, module.state_dict())
        save_weights(partial / OPTIMIZER, _moments(module, optimizer))
        (partial / STATE).write_text(json.dumps({"update": update, "history": history}), "utf-8")
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        *older, _ = checkpoints = self._all()
        # One older optimiser state stays, in case the newest checkpoint turns out damaged.
        for folder in older[:-1]:
            (folder / OPTIMIZER).unlink(missing_ok=True)
        for folder in checkpoints[: -self.keep]:
            shutil.rmtree(folder)

    def restore(
        self, module: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[int, list[dict[str, Any]]]:
        """Load the newest whole checkpoint; return its update (0: there is none) and history."""
        for folder in reversed(self._all()):
            try:
                weights = load_weights(folder / WEIGHTS)
                moments = load_weights(folder / OPTIMIZER)
                state = json.loads((folder / STATE).read_text("utf-8"))
            except (ArtifactError, OSError, ValueError) as error:
                warnings.warn(f"skipping a damaged checkpoint: {error}", stacklevel=2)
                shutil.rmtree(folder)
                continue
            module.load_state_dict(weights)
            _load_moments(module, optimizer, moments)
            return state["update"], state["history"]
        return 0, []

    def last_weights(self) -> list[dict[str, Tensor]]:
        """Return the weights of the checkpoints that are kept, oldest first."""
        return [load_weights(folder / WEIGHTS) for folder in self._all()[-self.keep :]]

    def _all(self) -> list[Path]:
        return sorted(self.path.glob("update-*"))


def _trained(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the parameters that have an optimiser state: frozen ones have none."""
    return (named for named in module.named_parameters() if named[1].requires_grad)


def _moments(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{key}/{name}": value
        for name, parameter in _trained(module)
        for key, value in optimizer.state[parameter].items()
    }


def _load_moments(
    module: nn.Module, optimizer: torch.optim.Optimizer, moments: Mapping[str, Tensor]
) -> None:
    for name, parameter in _trained(module):
        for key in ("step", "exp_avg", "exp_avg_sq"):
            value = moments[f"{key}/{name}"].clone()
            # A step count that is not on the parameter's device would stall a fused optimiser.
            optimizer.state[parameter][key] = value.to(parameter.device)
