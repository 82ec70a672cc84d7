"""How a sweep searches for a student: what is wanted, what is allowed, and for how long."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from wd.config.shapes import Config, Count, PositiveInt

Quality = Literal["bleu", "chrf"]
Objective = Literal[
    "bleu",
    "chrf",
    "parameters",
    "megabytes",
    "milliseconds",
    "sentences_per_second",
    "speed_up",
]
QUALITIES: tuple[Quality, ...] = get_args(Quality)
SMALLER_IS_BETTER = frozenset({"parameters", "megabytes", "milliseconds"})
Limit = Annotated[float, Field(gt=0, le=1e12)]


class SearchConfig(Config):
    """`wd sweep`. It changes which students are tried, not what one is: no artifact depends on it.

    `parameters`, `megabytes`, `milliseconds`, `sentences_per_second` and `speed_up` are the shape's
    alone: they are known before a trial trains.
    """

    objectives: tuple[Objective, ...] = ("bleu", "speed_up")
    """What is to be good at once. The first one is `bleu` or `chrf` on the validation set, by which
    hopeless trials are stopped. Of the others, `parameters`, `megabytes` and `milliseconds` (of one
    sentence alone) are to be small, `sentences_per_second` and `speed_up` (the teacher's decoding
    time over the student's) large."""
    rank_by: Objective | None = None
    """Who meets all limits and is best at this wins; default: the first objective."""
    algorithm: Literal["tpe", "nsga2", "random", "grid"] = "tpe"
    """`tpe`: a model of good points (Optuna), for few trials. `nsga2`: evolution, for hundreds.
    `random`: independent points. `grid`: all points, in random order where they are too many."""
    max_trials: PositiveInt = 8
    """Trials in all; those of earlier calls with the same settings count."""
    time_budget: Limit | None = None
    """Minutes that a call may search; then trials are stopped, and the same command goes on."""
    workers_per_trial: Count = 0
    """Training workers of a trial, each with what `ray` gives a worker; 0: a trial trains in its
    own process, which saves some ten seconds each."""
    max_parameters: PositiveInt | None = None
    """Of a student; a bigger one is not trained."""
    max_megabytes: Limit | None = None
    """Of its weights, in 10^6 bytes, quantized as `evaluation` says."""
    max_milliseconds: Limit | None = None
    """Of decoding one sentence alone, as measured with untrained weights."""
    min_sentences_per_second: Limit | None = None
    """Of decoding many, as measured with untrained weights."""
    min_speed_up: Limit | None = None
    """Over the teacher, as measured with untrained weights of both."""
    min_bleu: Annotated[float, Field(ge=0, le=100)] | None = None
    """Validation BLEU; who stays below it does not win."""
    min_chrf: Annotated[float, Field(ge=0, le=100)] | None = None
    """Validation chrF; who stays below it does not win."""

    @model_validator(mode="after")
    def _check_objectives(self) -> Self:
        if not self.objectives or self.objectives[0] not in QUALITIES:
            raise ValueError(
                "objectives: the first one must be bleu or chrf, by which trials are stopped"
            )
        if len(set(self.objectives)) < len(self.objectives):
            raise ValueError(f"objectives: {', '.join(self.objectives)} names one twice")
        return self

    @property
    def quality(self) -> Quality:
        """By which trials are stopped."""
        first = self.objectives[0]
        assert first in QUALITIES
        return first

    @property
    def ranked_by(self) -> Objective:
        """By which the winner is found."""
        return self.rank_by or self.objectives[0]

    @property
    def limits(self) -> dict[str, tuple[str, float]]:
        """The limits that are set: key -> (figure, bound); `max_` keys bound from above."""
        return {
            key: (key.partition("_")[2], value)
            for key in type(self).model_fields
            if key.startswith(("max_", "min_")) and key != "max_trials"
            if (value := getattr(self, key)) is not None
        }


def broken_limits(config: SearchConfig, figures: dict[str, float]) -> list[tuple[str, float]]:
    """Return each limit's key and bound that one of these figures breaks; absent ones break none.

    A key that begins with `max_` bounds from above, the others from below.
    """
    return [
        (key, bound)
        for key, (name, bound) in config.limits.items()
        if name in figures
        and (figures[name] > bound if key.startswith("max_") else figures[name] < bound)
    ]
