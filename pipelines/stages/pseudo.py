"""Sequence-level knowledge distillation: the teacher translates the training sources.

One decoding actor per device, each with the teacher loaded once, maps part files to part files.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pipelines.context import Run, Work, asked_once
from pipelines.stages.corpus import corpus
from pipelines.stages.imported import further_teacher
from pipelines.stages.monolingual import monolingual
from pipelines.stages.shards import VERSION as SHARDS_VERSION
from pipelines.stages.shards import check_kept, packed, warn_of_unknown
from pipelines.stages.teacher import teacher
from pipelines.stages.tokenizer import tokenizer
from wd.artifacts import Artifact, Metrics
from wd.config import PSEUDO_INPUTS, PSEUDO_SELECTION, PSEUDO_STORED, PseudoConfig, RayConfig
from wd.data.selection import Selection, lowest_score
from wd.data.shards import pack_pseudo
from wd.errors import DataError
from wd.logs import error_console
from wd.places import Place

VERSION = 2


@asked_once
def pseudo(run: Run) -> Artifact:
    """Return the artifact with a translation of every training source, and `report.json`.

    The report counts the faulty ones and shows some. They stay in the parts, which are row for row
    those of the corpus, but with `pseudo.drop_loops` no student is trained on them.
    """
    if not run.dry:
        from wd.distributed.accelerator import check_half_precision

        check_half_precision(run.recipe)  # before hours go into a teacher
    recipe, texts, models = run.recipe, sources(run), teachers(run)

    def build(work: Work) -> Metrics:
        from wd.decoding.faults import warn_of_cuts
        from wd.decoding.report import REPORT, PseudoReport, table, write_report

        stats = _translate(
            _parts(texts),
            [model.place for model in models.values()],
            recipe.pseudo,
            recipe.ray,
            work,
        )
        report = PseudoReport.of(stats)
        write_report(report, work.out)
        work.tracker.log_file(work.out / REPORT)
        longest = recipe.pseudo.max_length
        warn_of_cuts("pseudo", report.cut, report.sentences, longest, "pseudo.max_length")
        if report.examples:
            error_console().print(table(report, recipe.pseudo))
        return report.model_dump(exclude={"examples", "decoding"})

    return run.stage(
        "pseudo",
        version=VERSION,
        config={"pseudo": recipe.pseudo.without(*PSEUDO_INPUTS, *PSEUDO_SELECTION, *PSEUDO_STORED)},
        inputs={**texts, **models},
        build=build,
    )


@asked_once
def pseudo_shards(run: Run) -> Artifact:
    """Return the artifact with `train/` batches of the training sources and their hypotheses.

    Its metrics count what is left out of them, for what.
    """
    recipe, texts, pieces, said = run.recipe, sources(run), tokenizer(run), pseudo(run)
    chosen = {key: getattr(recipe.pseudo, key) for key in PSEUDO_SELECTION}

    def build(work: Work) -> Metrics:
        selection = _selection(_parts(texts), said.place, recipe.pseudo)
        pack = partial(pack_pseudo, pieces.place, recipe.shards, said.place, selection=selection)
        train = packed(pack, _parts(texts), "train", recipe.ray, work)
        if train["left_out"] and not train["pairs"] and not train["over_long"]:
            raise DataError(
                f"pseudo: none of the teacher's {train['left_out']:.0f} translations is sound "
                "(report.json of the pseudo stage shows some): train the teacher until it "
                "translates, or set pseudo.drop_loops=false"
            )
        check_kept(
            train,
            recipe.shards,
            "translations of the teacher, or their sources, are longer",
            "train the teacher until it translates, or raise shards.max_length",
        )
        warn_of_unknown({"train": train})
        if any(chosen.values()):
            run.say(
                f"pseudo: {train['pairs']:.0f} translations are trained on; {train['trimmed']:.0f} "
                f"with low scores and {train['duplicate']:.0f} repetitions are not"
            )
        return {"train": train} | ({"lowest": selection.lowest} if recipe.pseudo.trim else {})

    return run.stage(
        "shards",
        version=SHARDS_VERSION,
        label=f"{recipe.name}-pseudo",
        place="pseudo",
        config={"shards": recipe.shards} | {key: one for key, one in chosen.items() if one},
        inputs={**texts, "tokenizer": pieces, "pseudo": said},
        build=build,
    )


def sources(run: Run) -> dict[str, Artifact]:
    """Return the artifacts whose `train/` parts hold what the teacher translates, by role."""
    texts = {"corpus": corpus(run)}
    return texts | ({"monolingual": monolingual(run)} if run.recipe.pseudo.monolingual else {})


def teachers(run: Run) -> dict[str, Artifact]:
    """Return the models that translate, by role, the recipe's teacher first."""
    further = (further_teacher(run, place) for place in run.recipe.pseudo.teachers)
    roles = {f"teacher-{number}": model for number, model in enumerate(further, 2)}
    return {"teacher": teacher(run), **roles}


def _parts(texts: Mapping[str, Artifact]) -> list[Place]:
    return [part for text in texts.values() for part in text.files("train")]


def _selection(parts: Sequence[Place], said: Place, config: PseudoConfig) -> Selection:
    """Return which translations are trained on; for a share of them all scores are read."""
    lowest = lowest_score([said / part.name for part in parts], config.trim)
    return Selection(lowest, config.deduplicate)


def _translate(
    parts: Sequence[Place],
    models: Sequence[Place],
    config: PseudoConfig,
    ray: RayConfig,
    work: Work,
) -> list[dict[str, Any]]:
    """Fill the artifact with parts; return what was counted in each."""
    from wd.decoding.parts import PartTranslator
    from wd.distributed.accelerator import decoding_device
    from wd.distributed.map import map_parts

    made = work.scratch / "parts"
    device, threads = decoding_device(ray), max(1, int(ray.map_cpus)) if ray.workers else 0
    # The scratch folder outlives a killed run, so its finished parts are not translated again.
    stats = map_parts(
        PartTranslator, parts, made, config=ray, actor_args=(models, config, device, threads)
    )
    for part in parts:
        work.take(made / part.name, part.name)
    return stats
