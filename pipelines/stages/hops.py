"""Distillation in several hops: the student of one is the teacher of the next.

A teacher is asked for by the student that learns from it, and may be a student itself. So that
stages need not import each other in a circle, runs that may hop are opened here.
"""

from typing import Any

from pipelines.context import Run
from pipelines.stages.student import student
from pipelines.stages.teacher import teacher
from wd.artifacts import Artifact
from wd.config import Recipe
from wd.errors import ConfigError


def open_run(recipe: Recipe, **settings: Any) -> Run:
    """Return a run, to be used as a context manager; `settings` are those of `Run`."""
    return Run(recipe, taught=student_before, **settings)


def student_before(run: Run) -> Artifact:
    """Return the student that is the teacher of this run's."""
    return student(run.sibling(run.recipe.hops[-2]), "wd")


def first_teacher(run: Run) -> Artifact:
    """Return the teacher of the first hop."""
    return teacher(run.sibling(run.recipe.hops[0]) if run.recipe.via else run)


def check_one_teacher(recipe: Recipe, study: str) -> None:
    """Raise ConfigError where the students that a study compares would each have their own."""
    if recipe.via:
        raise ConfigError(
            f"via: a {study}'s students have one teacher, but its seeds, rungs or trials would "
            "make the student on the way anew; leave it out, or make that student first and name "
            "it in teacher.from"
        )
