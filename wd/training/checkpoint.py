"""Checkpoints of a run: written whole or not at all, beside the training; a damaged one skipped."""

import json
import warnings
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wd.errors import ArtifactError
from wd.files import sha256, whole
from wd.model.directory import load_weights, save_weights
from wd.places import Place
from wd.store.shelf import here, names, pull, push, remove
from wd.training.averaging import MovingAverage
from wd.training.copies import Copies
from wd.training.sharding import gathered, placed

WEIGHTS = "weights.safetensors"
OPTIMIZER = "optimizer.safetensors"
MOVING_AVERAGE = "moving-average.safetensors"
STATE = "state.json"
DIGESTS = "SHA256SUMS"
"""This file is one that `sha256sum --check` reads."""


@dataclass
class Progress:
    """Says how far a run is, and what its validations found."""

    update: int = 0
    """So many optimiser steps are done."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """The entry of each validation, as `selection.History` has them."""
    seconds: float = 0.0
    """So long the run took up to here, the time of all its attempts added up."""


class _AnothersError(ArtifactError):
    """Raised for a checkpoint that is whole, but of another run."""


_DAMAGE = (ArtifactError, FileNotFoundError, ValueError)
"""Reading a damaged checkpoint raises one of these; a disk that fails is another matter."""


class CheckpointFolder:
    """Holds the checkpoints of one run, each `update-00001000/`.

    The order of the data and the random numbers of an update follow from its number and the
    worker's rank, so weights, Adam's moments, a moving average if there is one, and the number
    are all the state that there is.
    """

    def __init__(self, place: Place, run: str = "") -> None:
        """Take a folder, and a hash of what is trained on what: no other run goes on from here."""
        self._place = place
        self._run = run
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None

    def save(
        self,
        progress: Progress,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        moving_average: MovingAverage | None = None,
        keep: Collection[int] = (),
        rank: int = 0,
    ) -> None:
        """Copy the state, and write it in the background.

        Where the module is spread over workers, all of them call this; rank 0 writes it whole.
        The two newest checkpoints stay, and those of the updates `keep`; the optimiser's state
        only with the two newest. Waits for the checkpoint before, and raises what that raised.
        """
        self.wait()
        tensors = {WEIGHTS: module.state_dict(), OPTIMIZER: _moments(module, optimizer)}
        if moving_average is not None:
            tensors[MOVING_AVERAGE] = moving_average.weights
        wholes = {part: gathered(named, keep=rank == 0) for part, named in tensors.items()}
        if rank:
            return
        copies = Copies(wholes)
        state = json.dumps({"run": self._run, **asdict(progress)})
        self._pending = self._writer.submit(
            self._write, progress.update, copies, state, frozenset(keep)
        )

    def wait(self) -> None:
        """Return when everything is written; raise what went wrong."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def restore(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        moving_average: MovingAverage | None = None,
    ) -> Progress:
        """Load the newest whole checkpoint, and return how far that is; at 0 there is none.

        Raises ArtifactError if it is another run's.
        """
        parts = [WEIGHTS, OPTIMIZER] + [MOVING_AVERAGE] * (moving_average is not None)
        damaged = False
        for name in reversed(self._all()):
            folder = pull(self._place / name)
            try:
                state = json.loads(_checked(folder, STATE).read_text("utf-8"))
                if state.pop("run") != self._run:
                    raise _AnothersError(
                        f"{folder}: a checkpoint of another run, with other settings or other "
                        f"data; remove {self._place} to start anew"
                    )
                if not (folder / OPTIMIZER).exists():
                    continue  # kept for an average only
                weights, moments, *mean = (load_weights(_checked(folder, part)) for part in parts)
            except _AnothersError:
                raise
            except _DAMAGE as error:
                damaged = True
                warnings.warn(f"skipping a damaged checkpoint: {error}", stacklevel=2)
                with suppress(FileNotFoundError):  # another worker removes it, too
                    remove(self._place / name)
                continue
            own = module.state_dict()
            weights = {name: placed(each, own[name]) for name, each in weights.items()}
            module.load_state_dict(weights)
            _load_moments(module, optimizer, moments)
            if moving_average is not None:
                moving_average.load(mean[0])
            return Progress(**state)
        if damaged:
            warnings.warn(
                f"{self._place}: no whole checkpoint is left; starting anew", stacklevel=2
            )
        return Progress()

    def weights(self, updates: Collection[int]) -> list[dict[str, Tensor]]:
        """Return what may be published of these updates, oldest first, without damaged ones.

        With a moving average, that is in the place of what it averages.
        """
        self.wait()
        found = []
        for name in map(_name, sorted(updates)):
            folder = pull(self._place / name)
            parts = [WEIGHTS] + [MOVING_AVERAGE] * (folder / MOVING_AVERAGE).exists()
            try:
                states = [load_weights(_checked(folder, part)) for part in parts]
                found.append({name: each for state in states for name, each in state.items()})
            except _DAMAGE as error:
                warnings.warn(f"left out of an average: {error}", stacklevel=2)
        return found

    def _write(
        self,
        update: int,
        copies: Copies,
        state: str,
        keep: frozenset[int],
    ) -> None:
        final, tensors = _name(update), copies.ready()
        with whole(here(self._place / final)) as partial:
            partial.mkdir(parents=True)
            for name, values in tensors.items():
                save_weights(partial / name, values)
            (partial / STATE).write_text(state, "utf-8")
            digests = [f"{sha256(partial / name)}  {name}\n" for name in (*tensors, STATE)]
            (partial / DIGESTS).write_text("".join(digests), "ascii")
        push(self._place / final, last=DIGESTS)
        # The one before stays whole, in case the newest turns out damaged. What is of a later
        # update was left when newer ones had turned out damaged, and will be written again.
        kept = set(map(_name, keep))
        for name in [each for each in self._all() if each <= final][:-2]:
            if name in kept:
                remove(self._place / name / OPTIMIZER)
            else:
                remove(self._place / name)

    def _all(self) -> list[str]:
        return [name for name in names(self._place) if name.startswith("update-")]


def _name(update: int) -> str:
    return f"update-{update:08d}"


def _checked(folder: Path, name: str) -> Path:
    """Return a checkpoint's file; raises ArtifactError if its bytes are not those written."""
    if f"{sha256(folder / name)}  {name}" not in (folder / DIGESTS).read_text("ascii").split("\n"):
        raise ArtifactError(f"{folder / name}: its checksum is not the one in {DIGESTS}")
    return folder / name


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
            if (value := moments.get(f"{key}/{name}")) is not None:  # None: it had no gradient yet
                # A step count that is not on the parameter's device would stall a fused optimiser.
                optimizer.state[parameter][key] = placed(value.clone(), parameter)
