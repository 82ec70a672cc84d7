"""Several model directories on one test set: translate, time, score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from wd.config import EvaluationConfig
from wd.decoding.engine import Translator
from wd.decoding.faults import count_cut
from wd.evaluation import further
from wd.evaluation.curves import Curve
from wd.evaluation.in_use import InUse, in_use
from wd.evaluation.origin import Origin
from wd.evaluation.quality import check_aligned, score
from wd.evaluation.report import Report, Row
from wd.evaluation.samples import samples
from wd.evaluation.significance import p_values
from wd.evaluation.speed import Speed, measure
from wd.evaluation.test_set import TestSet
from wd.machine import described
from wd.model.sizes import count_parameters
from wd.places import Place


@dataclass(frozen=True)
class System:
    """A model to compare."""

    name: str
    folder: Place
    """Its model directory."""
    artifact: str
    published: str
    """Which of its training's weights these are."""
    curve: Curve = ()


def compare(
    systems: Sequence[System],
    test: TestSet,
    config: EvaluationConfig,
    *,
    title: str,
    baseline: str,
    origin: Origin | None = None,
    tests: Mapping[str, TestSet] = MappingProxyType({}),
    device: str = "cpu",
    threads: int = 0,
) -> tuple[Report, dict[str, list[str]]]:
    """Return the report, and every system's translations, of `test` and of further `tests`.

    The first system is the one that compression and speed-up are relative to; `baseline` names
    the one that differences in BLEU are tested against; `origin` says who asks
    (default: this process).
    Raises DataError for an empty test set, ArtifactError for a folder that is no whole model.
    """
    check_aligned(test.sources, test.references)
    translators = {
        system.name: Translator.from_directory(
            Path(system.folder), quantization=config.quantization, device=device, threads=threads
        )
        for system in systems
    }
    hypotheses, speeds = measure(translators, test.sources, config)
    texts = {name: [found.text for found in lines] for name, lines in hypotheses.items()}
    cuts = {name: count_cut(lines) for name, lines in hypotheses.items()}
    first = translators[systems[0].name]
    uses = in_use(
        {system.name: system.folder for system in systems},
        test.sources,
        test.references,
        test.target_language,
        config,
        device=first.device,
        threads=first.threads,
    )
    scores, more = further.scored(translators, tests, config, baseline)
    sizes = {name: count_parameters(translator.config) for name, translator in translators.items()}
    report = Report(
        title=title,
        source_language=test.source_language,
        target_language=test.target_language,
        sentences=len(test.sources),
        decoding=config.on(first.device),
        device=first.device,
        threads=first.threads,
        origin=(origin or Origin.here()).on(described()),
        reference=systems[0].name,
        baseline=baseline,
        rows=_rows(systems, test, texts, cuts, sizes, speeds, uses, baseline),
        samples=samples(test.sources, test.references, texts),
        further=scores,
    )
    return report, texts | more


def _rows(
    systems: Sequence[System],
    test: TestSet,
    texts: Mapping[str, Sequence[str]],
    cuts: Mapping[str, int],
    sizes: Mapping[str, int],
    speeds: Mapping[str, Speed],
    uses: Mapping[str, tuple[InUse, ...]],
    baseline: str,
) -> tuple[Row, ...]:
    reference = systems[0].name
    language = test.target_language
    chances = p_values(texts, baseline, test.references, language)
    return tuple(
        Row(
            name=system.name,
            artifact=system.artifact,
            published=system.published,
            curve=system.curve,
            quality=score(texts[system.name], test.references, language),
            parameters=sizes[system.name],
            compression=sizes[system.name] / sizes[reference],
            speed=speeds[system.name],
            speed_up=speeds[reference].seconds / speeds[system.name].seconds,
            p_value=chances[system.name],
            cut=cuts[system.name],
            in_use=uses[system.name],
        )
        for system in systems
    )
