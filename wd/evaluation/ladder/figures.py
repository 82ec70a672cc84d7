"""The ladder: ways to make a student, compared at equal shape, data, updates and seed.

Students' scores and validation curves in, one row per shape and rung out: nothing but arithmetic.
"""

from collections.abc import Iterable, Sequence
from statistics import mean, stdev
from typing import NamedTuple

from wd.config import Config
from wd.evaluation.conditions import Conditions
from wd.evaluation.curves import Curve
from wd.evaluation.quality import Quality
from wd.evaluation.samples import Sample
from wd.evaluation.speed import Speed

BASELINE = "kd"
"""The rung that differences, p-values and `updates_to_baseline` are relative to."""


class Spread(Config):
    """A figure over the seeds."""

    mean: float
    deviation: float | None
    """Sample standard deviation; None for a single seed."""


class Student(Config):
    """One student: of a shape, a rung and a seed."""

    shape: str
    rung: str
    seed: int
    artifact: str
    """Where its model comes from: `stage/label-hash`."""
    published: str
    """Which of its training's weights these are: `last`, `average` or `best`."""
    quality: Quality
    """On the test set."""
    p_value: float | None
    """Of the BLEU difference to the baseline of its shape and seed; None for the baseline."""
    training_seconds: float
    """Wall clock; of both phases where there are two."""
    curve: Curve
    seconds: tuple[float, ...]
    """Of training, up to each point of the curve."""
    settings: dict[str, str]
    """What its recipe has for its rung alone: key -> value."""


class Shape(Config):
    """What all students of one shape have in common."""

    name: str
    parameters: int
    compression: float
    """Parameters over the teacher's."""
    speed: Speed
    """Of one of them: the weights make no difference, but for the lengths of translations."""
    speed_up: float
    """The teacher's decoding time over this one's."""
    samples: tuple[Sample, ...] = ()
    """Translated by the teacher and by its students of the first seed."""


class Teacher(Config):
    """The system that compression and speed-up are relative to."""

    artifact: str
    quality: Quality
    parameters: int
    speed: Speed


class Row(Config):
    """One rung for one shape, over the seeds."""

    shape: str
    rung: str
    bleu: Spread
    chrf: Spread
    to_teacher: float
    """Difference of the mean BLEU to the teacher's."""
    to_baseline: float | None
    """And to the baseline's mean; None for the baseline itself."""
    p_value: float | None
    """The largest of the seeds'."""
    settings: dict[str, str]
    """The students'."""
    updates: int
    """Of all phases together; where they stop early, the mean over the seeds."""
    updates_to_baseline: int | None
    """The first validation whose BLEU, the mean over the seeds, is not below the baseline's best
    one; None if there is none."""
    within: tuple[float | None, ...]
    """The best validation BLEU within each of the ladder's `budgets`, the mean over the seeds; None
    before the first one."""
    training_seconds: float
    """The mean over the seeds."""


class Ladder(Conditions):
    """The teacher, and students of every shape, rung and seed."""

    seeds: tuple[int, ...]
    budgets: tuple[int, ...]
    """An eighth, a quarter, half and all of the updates that a student may take."""
    timed: str
    """The rung whose student of the first seed stands for its shape's speed."""
    teacher: Teacher
    shapes: tuple[Shape, ...]
    rows: tuple[Row, ...]
    students: tuple[Student, ...]


class BandPoint(NamedTuple):
    """Several curves at one place."""

    update: int
    seconds: float
    """Of training: the mean."""
    mean: float
    low: float
    high: float


def budgets(updates: int) -> tuple[int, ...]:
    """Return an eighth, a quarter, half and all of the updates."""
    return tuple(updates // part for part in (8, 4, 2, 1))


def band(students: Sequence[Student]) -> list[BandPoint]:
    """Return mean, lowest and highest BLEU where all of the students were validated.

    One that stopped early ends the band. Raises ValueError if up to there they were validated at
    different updates.
    """
    points = []
    curves = (zip(one.curve, one.seconds, strict=True) for one in students)
    for places in zip(*curves, strict=False):  # one may have stopped before the others
        update, *others = {update for (update, _), _ in places}
        if others:
            raise ValueError(f"curves validated at {update} and {others} have no band")
        values = [bleu for (_, bleu), _ in places]
        seconds = mean(passed for _, passed in places)
        points.append(BandPoint(update, seconds, mean(values), min(values), max(values)))
    return points


def best_within(students: Sequence[Student], updates: int) -> float | None:
    """Return the mean of each one's best validation BLEU after no more updates than that."""
    reached = [[bleu for update, bleu in one.curve if update <= updates] for one in students]
    return mean(map(max, reached)) if all(reached) else None


def updates_to(points: Sequence[BandPoint], target: float) -> int | None:
    """Return the updates of the first validation whose mean is not below `target`, or None."""
    return next((point.update for point in points if point.mean >= target), None)


def spread(values: Sequence[float]) -> Spread:
    """Return mean and deviation of one value per seed."""
    return Spread(mean=mean(values), deviation=stdev(values) if len(values) > 1 else None)


def rung_students(students: Iterable[Student], shape: str) -> dict[str, list[Student]]:
    """Return rung -> the shape's students, both in the order in which they come."""
    rungs: dict[str, list[Student]] = {}
    for student in students:
        if student.shape == shape:
            rungs.setdefault(student.rung, []).append(student)
    return rungs


def rows_of(
    students: Sequence[Student], teacher: Quality, limits: Sequence[int]
) -> tuple[Row, ...]:
    """Return a row per shape and rung; every shape must have the baseline among its rungs.

    `limits`: the ladder's budgets.
    """
    rows: list[Row] = []
    for shape in dict.fromkeys(student.shape for student in students):
        rungs = rung_students(students, shape)
        rows += [_row(same, rungs[BASELINE], teacher, limits) for same in rungs.values()]
    return tuple(rows)


def _row(
    students: Sequence[Student],
    baseline: Sequence[Student],
    teacher: Quality,
    limits: Sequence[int],
) -> Row:
    first = students[0]
    points = band(students)
    bleu = spread([student.quality.bleu for student in students])
    reached = max(point.mean for point in band(baseline))
    p_values = [student.p_value for student in students if student.p_value is not None]
    is_baseline = first.rung == BASELINE
    return Row(
        shape=first.shape,
        rung=first.rung,
        bleu=bleu,
        chrf=spread([student.quality.chrf for student in students]),
        to_teacher=bleu.mean - teacher.bleu,
        to_baseline=None if is_baseline else bleu.mean - _mean_bleu(baseline),
        p_value=max(p_values, default=None),
        settings=first.settings,
        updates=round(mean(student.curve[-1][0] for student in students)),
        updates_to_baseline=updates_to(points, reached),
        within=tuple(best_within(students, limit) for limit in limits),
        training_seconds=mean(student.training_seconds for student in students),
    )


def _mean_bleu(students: Sequence[Student]) -> float:
    return mean(student.quality.bleu for student in students)
