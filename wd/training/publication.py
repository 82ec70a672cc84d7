"""Which weights of a finished run are published: the last ones, or some that validate better."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from wd.config import TrainingConfig
from wd.training.averaging import mean_state
from wd.training.checkpoint import CheckpointFolder
from wd.training.reporter import Reporter, listed
from wd.training.selection import History, best_updates, last_updates, merit
from wd.training.trainee import Trainee


@dataclass(frozen=True)
class _Candidate:
    """What may be published."""

    name: str
    """Says how it was chosen: `average` or `best`."""
    state: dict[str, Tensor]
    """The state of the trained module."""
    figures: dict[str, float] | None
    """Its validation; None if there has been none, as there is of no mean."""


def load_best(
    trainee: Trainee,
    config: TrainingConfig,
    checkpoints: CheckpointFolder,
    history: History,
    reporter: Reporter,
) -> dict[str, Any]:
    """Load the weights that validate best into the trainee's module; ties go to the last ones.

    Returns their name, `published`, and their figures, `validation`.
    """
    module = trainee.module
    with trainee.averaged():
        state = {name: each.clone() for name, each in module.state_dict().items()}
    published, figures = "last", _figures(history[-1])
    for other in _others(config, checkpoints, history):
        found = other.figures
        if found is None:
            module.load_state_dict(other.state)
            found = reporter.measured(trainee.weights())
        reporter.say(f"{other.name}: {listed(found)}")
        if merit(found, config) > merit(figures, config):
            published, figures, state = other.name, found, other.state
    module.load_state_dict(state)
    return {"published": published, "validation": figures}


def _others(
    config: TrainingConfig, checkpoints: CheckpointFolder, history: History
) -> Iterator[_Candidate]:
    """Yield what may be published beside the last weights."""
    known = {entry["update"]: _figures(entry) for entry in history}
    for name, choose in (("average", last_updates), ("best", best_updates)):
        chosen = choose(history, config)
        if chosen != [history[-1]["update"]] and (states := checkpoints.weights(chosen)):
            figures = known[chosen[0]] if len(chosen) == 1 else None
            yield _Candidate(name, mean_state(states), figures)


def _figures(entry: Mapping[str, Any]) -> dict[str, float]:
    """Return a validation's figures without what says which one it was."""
    return {name: value for name, value in entry.items() if name not in ("phase", "update")}
