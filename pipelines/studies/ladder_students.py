"""A ladder's students: trained one after another, or several at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path

from pipelines.context import Run
from pipelines.stages.distributions import student_inputs
from pipelines.stages.generator import generator
from pipelines.stages.hops import open_run
from pipelines.stages.outside import Outside, outside
from pipelines.stages.shards import shards
from pipelines.stages.student import check_possible, student
from pipelines.studies.rungs import Place, Rung
from wd.artifacts import Artifact
from wd.config import Recipe, overridden
from wd.errors import ConfigError, UserError
from wd.places import unseen
from wd.tracking import TrackerHandle, attach


@dataclass(frozen=True)
class Made:
    """A student and what it came by."""

    student: Artifact
    phases: tuple[Artifact, ...]
    """What was trained for it, the student last."""


def check_places(recipe: Recipe, places: Sequence[Place]) -> None:
    """Raise ConfigError if a student cannot be made or compared, before anything is trained."""
    for place in places:
        if place.seed == 1:  # the others are of its shape
            one = place.recipe(recipe)
            check_possible(one, place.rung.method)
            _check_validation(one)
            _check_updates(one, place, recipe)


def _check_validation(recipe: Recipe) -> None:
    phases = {"generator.training": recipe.generator.training, "fine_tuning": recipe.fine_tuning}
    if recipe.generator.training.early_stopping is not None:
        raise ConfigError(
            "generator.training.early_stopping: phase 1 has a fixed length in a ladder, for curves "
            "of several seeds to have their means; fine_tuning may stop early"
        )
    counts = {f"{key}.bleu_sentences": phase.bleu_sentences for key, phase in phases.items()}
    if len(set(counts.values())) > 1 or 0 in counts.values():
        listed = ", ".join(f"{key} is {count}" for key, count in counts.items())
        raise ConfigError(
            f"{listed}: a ladder compares validation BLEU over both phases, so they must be the "
            "same and not 0"
        )


def _check_updates(one: Recipe, place: Place, recipe: Recipe) -> None:
    own, all_have = (each.student_training("kd").updates for each in (one, recipe))
    if own != all_have:
        raise ConfigError(
            f"--set for {place.shape}/{place.rung.name}: {own:,} updates of both phases, but a "
            f"ladder gives {all_have:,} to every student"
        )


def students(run: Run, places: Sequence[Place]) -> dict[Place, Made]:
    """Return every place's student, after training what is not there yet."""
    made = {}
    for number, place in enumerate(places, start=1):
        if not run.dry:
            run.say(f"student {number} of {len(places)}: {place}")
        with run.sibling(place.recipe(run.recipe)) as one:
            made[place] = _made(one, place.rung)
    return made


def train_side_by_side(run: Run, places: Sequence[Place], concurrent: int) -> None:
    """Train what is not there yet, so many at a time, each in a process of its own.

    Raises UserError if a node does not see the artifacts.
    """
    shared = [shards(run), *student_inputs(run).values()]  # what all students read, here and once
    todo = [place for place in places if not _is_there(run, place)]
    if not todo:
        return
    from wd.distributed.side_by_side import side_by_side

    found = outside(run, overridden(run.recipe, run.elsewhere()))
    handle, folders = run.tracker.handle(), [one.place for one in shared]
    side_by_side(
        {str(place): partial(_train, found, place, handle, folders) for place in todo},
        config=run.recipe.ray,
        concurrent=concurrent,
        announce=run.say,
    )


def _made(run: Run, rung: Rung) -> Made:
    phases = (generator(run),) if rung.method == "wd" else ()
    last = student(run, rung.method)
    return Made(last, (*phases, last))


def _is_there(run: Run, place: Place) -> bool:
    return bool(_made(run.glance(place.recipe(run.recipe)), place.rung).student.manifest)


def _train(
    found: Outside, place: Place, handle: TrackerHandle | None, folders: Sequence[PathLike[str]]
) -> None:
    """Train one student in this process, which is to see what it reads."""
    for folder in folders:
        if not Path(folder).is_dir():
            raise UserError(unseen(folder))
    recipe = place.recipe(found.recipe)
    answers = found.answers_for(recipe)
    with open_run(recipe, parent=attach(handle), quiet=True, answers=answers) as run:
        _made(run, place.rung)
