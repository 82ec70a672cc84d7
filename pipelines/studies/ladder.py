"""Compare ways to make a student: scratch, KD, layer copy and WD, for every shape and seed.

Not a stage of `wd run`. Everything up to the pseudo-data is made once. Each student then comes
from the ordinary stages, so its artifacts are those of a run with its overrides.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.console import Console

from pipelines.context import Run, Work
from pipelines.stages.corpus import corpus
from pipelines.stages.evaluation import test_set, write_lines
from pipelines.stages.hops import check_one_teacher
from pipelines.stages.teacher import teacher
from pipelines.studies.ladder_students import Made, check_places, students, train_side_by_side
from pipelines.studies.rungs import Place, Rung, check_name, places_of
from wd.artifacts import Artifact, Metrics
from wd.config import Recipe

if TYPE_CHECKING:
    from wd.evaluation.ladder.figures import Ladder

VERSION = 6


def ladder(
    run: Run,
    rungs: Sequence[Rung],
    *,
    seeds: int,
    shapes: Sequence[str] = (),
    own: Sequence[str] = (),
    concurrent: int | None = None,
) -> Artifact:
    """Return the artifact with the ladder as JSON, page and Markdown, plots and all translations.

    `shapes` are student names of the recipe; none: all. Seeds count from 1. `own`: settings of
    single rungs. `concurrent`: so many students are trained at a time, each in one process;
    default: one after another, each with all the recipe's workers. Raises ConfigError for an
    unknown shape or rung, for `via`, and where updates or validation BLEU would not be comparable.
    """
    recipe = run.recipe
    check_one_teacher(recipe, "ladder")
    for shape in shapes:
        check_name("--student", shape, sorted(recipe.students))
    shapes = [shape for shape in recipe.students if shape in (shapes or recipe.students)]
    places = places_of(shapes, rungs, seeds, own)
    check_places(recipe, places)
    text, first = corpus(run), teacher(run)
    if concurrent and not run.dry:
        train_side_by_side(run, places, concurrent)
    made = students(run, places)

    def build(work: Work) -> Metrics:
        from wd.evaluation.ladder.report import FILES

        scored = _climb(recipe, text, first, made, work)
        for name in FILES:
            work.tracker.log_file(work.out / name)
        return _metrics(scored)

    return run.stage(
        "ladder",
        version=VERSION,
        config={
            "evaluation": recipe.evaluation.without("tests"),
            "languages": [recipe.source_language, recipe.target_language],
            "students": shapes,
            "rungs": [rung.name for rung in rungs],
            "seeds": seeds,
        },
        inputs={"corpus": text, "teacher": first}
        | {_role(place): one.student for place, one in made.items()},
        build=build,
    )


def show(artifact: Artifact) -> None:
    """Print a ladder's tables on standard output, and where its page is."""
    from wd.evaluation.ladder.report import WIDTH, read_ladder, tables

    console = Console(width=max(WIDTH, Console().width))  # a log is taken to have 80
    scored = read_ladder(artifact.path)
    for table in tables(scored):
        console.print(table)
    console.print(scored.teacher.quality.signatures, highlight=False, soft_wrap=True)
    console.print(f"page: {artifact.path / 'ladder.html'}", highlight=False, soft_wrap=True)


def _role(place: Place) -> str:
    """Return the place's role among the ladder's inputs: MLflow's tags take no brackets."""
    return " ".join(
        filter(None, (place.shape, place.rung.method, place.rung.start, str(place.seed)))
    )


def _climb(
    recipe: Recipe, text: Artifact, first: Artifact, made: Mapping[Place, Made], work: Work
) -> "Ladder":
    from wd.distributed.decode import translate_apart
    from wd.evaluation.compare import System
    from wd.evaluation.curves import joined, seconds_at
    from wd.evaluation.ladder.report import write_ladder
    from wd.evaluation.ladder.scores import Entrant, climb
    from wd.evaluation.origin import Origin

    entrants = [
        Entrant(
            shape=place.shape,
            rung=place.rung.name,
            seed=place.seed,
            folder=one.student.place,
            artifact=one.student.name,
            published=one.student.metrics["published"],
            curve=joined(phase.metrics["history"] for phase in one.phases),
            seconds=seconds_at(
                (phase.metrics["history"], phase.metrics["training_seconds"])
                for phase in one.phases
            ),
            settings=dict(override.split("=", 1) for override in place.own),
        )
        for place, one in made.items()
    ]
    climbing = partial(
        climb,
        System("teacher", first.place, first.name, first.metrics["published"]),
        entrants,
        test_set(recipe, text),
        recipe.evaluation,
        title=f"{recipe.name}, the ladder",
        updates=recipe.student_training("kd").updates,
        origin=Origin.here(),
        scratch=work.scratch,
    )
    scored, texts = translate_apart(climbing, recipe.ray, "ladder")
    write_ladder(scored, work.out)
    for name, lines in texts.items():
        write_lines(work.out / f"{name.replace('/', '-')}.txt", lines)
    return scored


def _metrics(scored: "Ladder") -> Metrics:
    students: dict[str, dict[str, Any]] = {shape.name: {} for shape in scored.shapes}
    sizes = {shape.name: shape for shape in scored.shapes}
    for row in scored.rows:
        shape = sizes[row.shape]
        figures = row.model_dump(exclude={"shape", "rung"}, exclude_none=True)
        figures |= {
            "parameters": shape.parameters,
            "compression": shape.compression,
            "speed_up": shape.speed_up,
        }
        students[row.shape][row.rung] = figures
    quality = scored.teacher.quality
    return {"teacher": {"bleu": quality.bleu, "chrf": quality.chrf}, "students": students}
