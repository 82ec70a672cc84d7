"""A sweep's trials in figures: which are on the front, which one wins."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from wd.config import SMALLER_IS_BETTER, Config, SearchConfig, broken_limits
from wd.evaluation.origin import Origin


class SweepTrial(Config):
    """One student that was tried, or could not be."""

    key: str
    name: str
    status: str
    """finished, stopped (early), failed, refused (not trained) or unfinished."""
    reason: str = ""
    """Why it did not finish, or the limits that it breaks."""
    is_given: bool = False
    """Whether it is the recipe as it is, or another student that the recipe names."""
    overrides: dict[str, Any]
    values: dict[str, Any] = Field(default_factory=dict)
    """What the search chose; none for a student that is no point of the space."""
    metrics: dict[str, float]
    curve: tuple[tuple[int, float], ...] = ()
    """(update, quality) of its validations, both phases counted on."""
    artifacts: dict[str, str] = Field(default_factory=dict)
    on_front: bool = False
    """Whether it finished, and no other one that did is better in one objective and as good in all.
    """
    within_limits: bool = False
    command: str
    """What makes it at the recipe's full budget."""


class Score(Config):
    """A system on the test set."""

    name: str
    bleu: float
    chrf: float
    speed_up: float
    p_value: float | None
    signature: str


class Sweep(Config):
    """All that the page shows."""

    title: str
    origin: Origin
    updates: int
    """Of a whole trial."""
    objectives: tuple[str, ...]
    ranked_by: str
    limits: dict[str, float]
    teacher: dict[str, float]
    """Its parameters, megabytes and speed."""
    trials: tuple[SweepTrial, ...]
    """The winner first."""
    importances: dict[str, dict[str, float]]
    """Objective -> parameter -> share of the variation that it explains."""
    scores: tuple[Score, ...] = ()
    """On the test set: the teacher, the winner, and the recipe as it is."""

    @property
    def best(self) -> SweepTrial | None:
        """The winner, if there is one."""
        return winner(self.trials)


def winner(trials: Sequence[SweepTrial]) -> SweepTrial | None:
    """Return the first of ranked trials, if it finished and meets all limits."""
    first = trials[0]
    return first if first.status == "finished" and first.within_limits else None


def front(rows: Sequence[Mapping[str, float]], objectives: Sequence[str]) -> list[bool]:
    """Tell of each row whether no other one is as good in all objectives and better in one."""
    signed = [
        tuple(row[name] * (-1 if name in SMALLER_IS_BETTER else 1) for name in objectives)
        for row in rows
    ]

    def beats(one: Sequence[float], other: Sequence[float]) -> bool:
        return one != other and all(a >= b for a, b in zip(one, other, strict=True))

    return [not any(beats(other, one) for other in signed) for one in signed]


def ranked(trials: Sequence[SweepTrial], config: SearchConfig) -> list[SweepTrial]:
    """Return the trials with front and limits marked, the winner first.

    Finished ones that meet all limits come first, then other finished ones, then the rest; within
    each by the figure that the configuration ranks by, then by the other objectives.
    """
    done = [
        one
        for one in trials
        if one.status == "finished" and all(name in one.metrics for name in config.objectives)
    ]
    marks = dict(zip((one.key for one in done), _marks(done, config), strict=True))
    marked = []
    for one in trials:
        broken = broken_limits(config, one.metrics)
        reason = one.reason or "; ".join(f"search.{key} {bound:,.6g}" for key, bound in broken)
        changes = {"on_front": marks.get(one.key, False), "within_limits": not broken}
        marked.append(one.model_copy(update={**changes, "reason": reason}))
    order = [config.ranked_by, *(name for name in config.objectives if name != config.ranked_by)]

    def place(one: SweepTrial) -> tuple[Any, ...]:
        figures = (_signed(one, name) for name in order)
        return (one.status != "finished", not one.within_limits, *figures, one.key)

    return sorted(marked, key=place)


def _marks(done: Sequence[SweepTrial], config: SearchConfig) -> list[bool]:
    return front([one.metrics for one in done], config.objectives)


def _signed(one: SweepTrial, name: str) -> float:
    """Return a figure so that less is better; what is unknown comes last."""
    if name not in one.metrics:
        return float("inf")
    return one.metrics[name] * (1 if name in SMALLER_IS_BETTER else -1)
