"""Sequence-level knowledge distillation: the teacher translates the training sources.

One decoding actor per device, each with the teacher loaded once, maps part files to part files.
"""

import shutil
from pathlib import Path
from typing import Any

from pipelines.cli import main
from pipelines.context import Run, Work
from pipelines.corpus import corpus
from pipelines.teacher import teacher
from wd.artifacts import Artifact, Metrics
from wd.config import PseudoConfig, RayConfig
from wd.data.schema import part_files

VERSION = 2


def pseudo(run: Run) -> Artifact:
    """Return the artifact with a translation of every training source, and `report.json`.

    The report counts the faulty ones and shows some. They stay in the parts, which are row for row
    those of the corpus, but with `pseudo.drop_loops` no student is trained on them.
    """
    recipe, text, model = run.recipe, corpus(run), teacher(run)

    def build(work: Work) -> Metrics:
        from wd.decoding.faults import warn_of_cuts
        from wd.decoding.report import REPORT, PseudoReport, table, write_report

        stats = _translate(text.path / "train", model.path, recipe.pseudo, recipe.ray, work)
        report = PseudoReport.of(stats)
        write_report(report, work.out)
        work.tracker.log_file(work.out / REPORT)
        longest = recipe.pseudo.max_length
        warn_of_cuts("pseudo", report.cut, report.sentences, longest, "pseudo.max_length")
        if report.examples:
            run.console.print(table(report, recipe.pseudo))
        return report.model_dump(exclude={"examples"})

    return run.stage(
        "pseudo",
        version=VERSION,
        config={"pseudo": recipe.pseudo},
        inputs={"corpus": text, "teacher": model},
        build=build,
    )


def _translate(
    sources: Path, model: Path, config: PseudoConfig, ray: RayConfig, work: Work
) -> list[dict[str, Any]]:
    """Fill the artifact with parts; return what was counted in each."""
    from wd.decoding.parts import PartTranslator, check_rows
    from wd.distributed.map import map_parts

    parts, made = part_files(sources), work.scratch / "parts"
    device, threads = "cuda" if ray.gpu else "cpu", max(1, int(ray.map_cpus))
    # The scratch folder outlives a killed run, so its finished parts are not translated again.
    stats = map_parts(
        PartTranslator, parts, made, config=ray, actor_args=(model, config, device, threads)
    )
    for part in parts:
        check_rows(part, made / part.name)
        shutil.copyfile(made / part.name, work.out / part.name)
    return stats


if __name__ == "__main__":
    main("pseudo")
