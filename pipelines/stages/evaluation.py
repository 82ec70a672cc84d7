"""Compare teacher, KD student and WD student on the test set, and the students on the way."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from pipelines.context import Run, Work, asked_once
from pipelines.stages.corpus import corpus
from pipelines.stages.generator import generator
from pipelines.stages.hops import first_teacher
from pipelines.stages.later_tests import later_tests
from pipelines.stages.student import student
from wd.artifacts import Artifact, Metrics
from wd.config import Recipe
from wd.data.parts import read_part
from wd.data.schema import part_files

if TYPE_CHECKING:
    from wd.evaluation.report import Report
    from wd.evaluation.test_set import TestSet

VERSION = 6


@asked_once
def evaluation(run: Run) -> Artifact:
    """Return the artifact with `report.json`, `report.html`, plots and every system's output.

    The students have the same shape, data and number of updates; only their starts differ.
    """
    recipe = run.recipe
    text = corpus(run)
    trained = {
        "teacher": (first_teacher(run),),
        **{f"via {hop.student}": _phases(run.sibling(hop)) for hop in recipe.hops[:-1]},
        "KD": (student(run, "kd"),),
        "WD": _phases(run),
    }
    models = {name: phases[-1] for name, phases in trained.items()}
    later = {"tests": later_tests(run)} if recipe.evaluation.tests else {}

    def build(work: Work) -> Metrics:
        from wd.evaluation.report import FILES

        tests = further_tests(recipe, text, *later.values())
        report = _evaluate(recipe, test_set(recipe, text), tests, trained, work.out)
        for name in FILES:
            work.tracker.log_file(work.out / name)
        metrics = _metrics(report)
        if run.parent is None:  # the pipeline's own run shows what came out of it
            run.tracker.log_metrics(metrics)
        return metrics

    return run.stage(
        "evaluation",
        version=VERSION,
        config={
            "evaluation": recipe.evaluation.without("tests"),
            "languages": [recipe.source_language, recipe.target_language],
        },
        inputs={"corpus": text, **later, **models},
        build=build,
        label=f"{recipe.name}-{recipe.student}",
    )


def _phases(run: Run) -> tuple[Artifact, Artifact]:
    return generator(run), student(run, "wd")


def print_table(artifact: Artifact) -> None:
    """Print an evaluation's table on standard output, and where its page is."""
    from wd.evaluation.further import table as further_table
    from wd.evaluation.report import read_report, table, use_table

    console = Console(soft_wrap=True)
    report = read_report(artifact.path)
    console.print(table(report))
    if in_use := use_table(report):
        console.print(in_use)
    if further := further_table(report.further):
        console.print(further)
    console.print(report.rows[0].quality.signatures, highlight=False)
    console.print(f"report: {artifact.path / 'report.html'}", highlight=False)


def test_set(recipe: Recipe, text: Artifact) -> "TestSet":
    """Return the corpus' test split, the first one if there are several."""
    return _read(recipe, text, "test")


def further_tests(recipe: Recipe, text: Artifact, *later: Artifact) -> dict[str, "TestSet"]:
    """Return the other test sets by their names: the corpus', and those that were named `later`."""
    folders = dict.fromkeys(list(recipe.corpus.tests)[1:], text)
    for one in later:
        folders |= dict.fromkeys(one.metrics["pairs"], one)
    return {
        folder.removeprefix("test-"): _read(recipe, where, folder)
        for folder, where in folders.items()
    }


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write a system's translations, one per line."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _read(recipe: Recipe, text: Artifact, folder: str) -> "TestSet":
    from wd.evaluation.test_set import TestSet

    tables = [read_part(part) for part in part_files(text / folder)]
    return TestSet(
        sources=[line for table in tables for line in table["source"].to_pylist()],
        references=[line for table in tables for line in table["target"].to_pylist()],
        source_language=recipe.source_language,
        target_language=recipe.target_language,
        in_training=text.metrics.get("in_training", {}).get(folder, 0),
    )


def _evaluate(
    recipe: Recipe,
    test: "TestSet",
    tests: Mapping[str, "TestSet"],
    trained: Mapping[str, Sequence[Artifact]],
    out: Path,
) -> "Report":
    """Translate with what each phase after phase of training ended in."""
    from wd.distributed.decode import translate_apart
    from wd.evaluation.compare import System, compare
    from wd.evaluation.curves import joined
    from wd.evaluation.origin import Origin
    from wd.evaluation.report import write_report

    work = partial(
        compare,
        [
            System(
                name,
                model.place,
                model.name,
                model.metrics["published"],
                joined(phase.metrics["history"] for phase in (*before, model)),
            )
            for name, (*before, model) in trained.items()
        ],
        test,
        recipe.evaluation,
        title=f"{recipe.name}, student {recipe.student}",
        baseline="KD",
        origin=Origin.here(),
        tests=tests,
    )
    report, texts = translate_apart(work, recipe.ray, "evaluation")
    write_report(report, out)
    for name, lines in texts.items():
        write_lines(out / f"{name}.txt", lines)
    return report


def _metrics(report: "Report") -> Metrics:
    return {
        row.name: {
            "bleu": row.quality.bleu,
            "chrf": row.quality.chrf,
            "parameters": row.parameters,
            "compression": row.compression,
            "sentences_per_second": row.speed.sentences_per_second,
            "tokens_per_second": row.speed.tokens_per_second,
            "speed_up": row.speed_up,
            "cut": row.cut,
            **({} if row.p_value is None else {"p_value": row.p_value}),
        }
        for row in report.rows
    }
