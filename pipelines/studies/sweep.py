"""Search students for several objectives under limits, and report what was found.

Everything up to the pseudo-data is made once. Each trial then runs both phases through the ordinary
stages, so its artifacts are those of a run with its overrides. Trials are compared on the
validation set; only the winner, and the recipe as it is, are scored on the test set in the end.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from pipelines.context import Run
from pipelines.stages.hops import check_one_teacher
from pipelines.stages.outside import outside
from pipelines.studies.sweep_board import Board
from pipelines.studies.sweep_points import Points
from pipelines.studies.sweep_report import make_report
from pipelines.studies.sweep_request import Request
from pipelines.studies.sweep_speeds import ShapeSpeeds
from pipelines.studies.sweep_trial import trial, with_updates
from wd.config import Recipe, overridden
from wd.errors import ConfigError, UserError
from wd.logs import error_console
from wd.places import Place
from wd.status import shown
from wd.tracking import Tracker

if TYPE_CHECKING:
    from wd.distributed.records import TrialEnd
    from wd.distributed.tune import Plan
    from wd.evaluation.sweep.figures import Sweep


_WIDTH = 110
"""Columns that the table needs."""


def sweep(recipe: Recipe, request: Request) -> "tuple[Sweep, Path]":
    """Run the trials; return what was found, the best trial first, and the report's folder.

    The same arguments again go on with a killed sweep; more trials add to a finished one. Raises
    ConfigError for an unknown space, one without a possible point and limits that no point meets,
    ClusterError if no trial would find room, UserError if no trial finished.
    """
    short = with_updates(recipe, request.updates)
    if not all(phase.bleu_sentences for phase in (short.generator.training, short.fine_tuning)):
        raise ConfigError("bleu_sentences must not be 0: a sweep compares trials by BLEU")
    check_one_teacher(recipe, "sweep")
    with Run(recipe) as run:
        speeds = ShapeSpeeds(run)
        points, plan = _planned(run, request, speeds)
        _make_inputs(run)
        return _searched(run, request, speeds, points, plan)


def show(made: "Sweep", folder: Path) -> None:
    """Print a sweep's tables on standard output, what makes the winner, and where the page is."""
    from wd.evaluation.sweep.report import scores_table, table

    console = Console(width=max(_WIDTH, Console().width))  # a log is taken to have 80
    console.print(table(made))
    console.print(scores_table(made))
    told = partial(console.print, highlight=False, soft_wrap=True, markup=False)
    if best := made.best:
        told(f"winner: {best.name}. To make it at the full budget: {best.command}")
    else:
        told("no winner: no trial that finished meets all limits")
    told(f"report: {folder / 'report.html'}")


def _planned(run: Run, request: Request, speeds: ShapeSpeeds) -> "tuple[Points, Plan]":
    """Return what is to be tried; all that can be wrong is told here, before any work."""
    from wd.distributed.runtime import prepare_ray

    recipe = run.recipe
    from tune_spaces import search_space

    space = search_space(recipe, request.spaces)
    points = Points(recipe, space, speeds)
    prepare_ray(recipe.ray)  # before the modules below import Ray
    from wd.distributed.points import draw, grid
    from wd.distributed.tune import Plan, check_room

    whole = partial(grid, space.parameters, request.seed)
    gridded = recipe.search.algorithm == "grid"
    points.probe(whole() if gridded else draw(space.parameters, request.seed))
    check_room(recipe.search, recipe.ray)
    short = with_updates(recipe, request.updates)
    phases = (short.generator.training, short.fine_tuning)
    updates = sum(phase.updates for phase in phases)
    return points, Plan(
        config=recipe.search,
        updates=updates,
        grace_updates=max(phases[0].validate_every, updates // 4),
        given=points.given(),
        parameters=space.parameters,
        candidate=points.candidate,
        more=lambda: map(points.candidate, whole()) if gridded else (),
        seed=request.seed,
        concurrent=request.concurrent,
    )


def _make_inputs(run: Run) -> None:
    """Make what all trials share, here and once."""
    from pipelines.stages.distributions import student_inputs
    from pipelines.stages.shards import shards

    shards(run)
    student_inputs(run)


def _searched(
    run: Run, request: Request, speeds: ShapeSpeeds, points: Points, plan: "Plan"
) -> "tuple[Sweep, Path]":
    recipe, key = run.recipe, _key(run.recipe, request)
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    folder = run.store.unfinished("sweep", digest)
    spaces = " ".join(Path(space).stem for space in request.spaces)
    with run.tracker.child(f"sweep {spaces}", key=key) as tracker:
        handle, name = tracker.handle(), f"sweep/{recipe.name}-{digest}"
        page = handle.page if handle else None
        tracker.log_params({"search": recipe.search.model_dump(mode="json"), **_described(request)})
        with (
            Board(error_console(), recipe.search, plan.given) as board,
            shown(run.store.root, name, f"search/{digest}", page),
        ):
            ends = _search(run, request, plan, tracker, folder, board)
        refused = [one for one in plan.given if one.refused]
        if not any(end.status == "finished" for end in ends):
            raise UserError(_nothing(ends, points))
        return make_report(run, request, speeds, ends, refused, tracker, digest)


def _search(
    run: Run, request: Request, plan: "Plan", tracker: Tracker, folder: Place, board: Board
) -> "list[TrialEnd]":
    from wd.distributed.tune import search

    changes = run.elsewhere()
    if run.recipe.search.workers_per_trial:
        changes["ray.workers"] = run.recipe.search.workers_per_trial
        changes["ray.min_workers"] = None
    return search(
        partial(trial, outside(run, overridden(run.recipe, changes)), request.updates),
        plan,
        ray=run.recipe.ray,
        tracker=tracker,
        folder=folder,
        announce=board.show,
    )


def _described(request: Request) -> dict[str, Any]:
    return {
        "spaces": sorted(set(request.spaces)),
        "updates": request.updates,
        "seed": request.seed,
    }


def _key(recipe: Recipe, request: Request) -> str:
    """Return what makes two calls one sweep: not how long it goes on, nor what is best in it."""
    base = recipe.model_dump(mode="json", exclude={"ray", "root", "tracking", "registry"})
    base["search"] = {"algorithm": recipe.search.algorithm, "quality": recipe.search.quality}
    files = {
        space: Path(space).read_text(encoding="utf-8")
        for space in request.spaces
        if space.endswith((".yaml", ".yml"))
    }
    return json.dumps({"recipe": base, "files": files, **_described(request)}, sort_keys=True)


def _nothing(ends: "Sequence[TrialEnd]", points: Points) -> str:
    if not ends:
        return f"no trial was started: {points.told()}"
    told = "; ".join(f"{end.name}: {end.status} {end.error}".strip() for end in ends)
    return f"no trial of {len(ends)} finished: {told}"
