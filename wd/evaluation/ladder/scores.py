"""The ladder's students on the test set: translate, time, score.

Students are many, and translating takes long: whatever is done outlives a killed run.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from wd.config import EvaluationConfig
from wd.decoding.engine import Translator
from wd.evaluation.compare import System
from wd.evaluation.curves import Curve
from wd.evaluation.ladder.figures import (
    BASELINE,
    Ladder,
    Shape,
    Student,
    Teacher,
    budgets,
    rows_of,
    rung_students,
)
from wd.evaluation.origin import Origin
from wd.evaluation.quality import check_aligned, score
from wd.evaluation.samples import Sample, samples
from wd.evaluation.significance import p_value
from wd.evaluation.speed import Speed, measure, translated
from wd.evaluation.test_set import TestSet
from wd.files import whole
from wd.machine import described
from wd.model.sizes import count_parameters
from wd.places import Place
from wd.store.shelf import here, pull, push

TIMED = "wd"
"""The rung whose first student is timed for all of its shape; without it, the baseline's."""

Texts = dict[str, list[str]]
"""Artifact's name -> its translation of the test set."""


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A student to be scored."""

    shape: str
    rung: str
    seed: int
    folder: Place
    """Its model directory."""
    artifact: str
    published: str
    """Which of its training's weights these are."""
    curve: Curve
    seconds: tuple[float, ...]
    """Of training, up to each point of the curve, which ends with it."""
    settings: Mapping[str, str]
    """What its recipe has for its rung alone."""


def climb(
    teacher: System,
    entrants: Sequence[Entrant],
    test: TestSet,
    config: EvaluationConfig,
    *,
    title: str,
    updates: int,
    scratch: Place,
    origin: Origin | None = None,
    device: str = "cpu",
    threads: int = 0,
) -> tuple[Ladder, Texts]:
    """Return the ladder, and the translations of the teacher and of every student.

    Every shape and seed must have the baseline. `updates`: so many a student may take.
    `scratch` keeps what is done: with the same arguments again, a killed call goes on. Raises
    DataError for an empty test set, ArtifactError for a folder that is no whole model.
    """
    check_aligned(test.sources, test.references)
    timed = TIMED if any(one.rung == TIMED for one in entrants) else BASELINE
    chosen = _timed(entrants, timed)
    engines = _Engines(test, config, device, threads)
    measured, texts = _translations(engines, teacher, entrants, chosen.values(), scratch)
    students = _students(entrants, texts, test)
    sizes, speeds, limits = measured["parameters"], _speeds(measured), budgets(updates)
    quality = score(texts[teacher.artifact], test.references, test.target_language)
    ladder = Ladder(
        title=title,
        source_language=test.source_language,
        target_language=test.target_language,
        sentences=len(test.sources),
        decoding=config.on(measured["device"]),
        device=measured["device"],
        threads=measured["threads"],
        origin=(origin or Origin.here()).on(measured["machine"]),
        seeds=tuple(dict.fromkeys(one.seed for one in entrants)),
        budgets=limits,
        timed=timed,
        teacher=Teacher(
            artifact=teacher.artifact,
            quality=quality,
            parameters=sizes[teacher.artifact],
            speed=speeds[teacher.artifact],
        ),
        shapes=tuple(
            _shape(name, one.artifact, teacher.artifact, sizes, speeds).model_copy(
                update={"samples": _samples(name, teacher, students, texts, test)}
            )
            for name, one in chosen.items()
        ),
        rows=rows_of(students, quality, limits),
        students=students,
    )
    return ladder, texts


def _samples(
    shape: str, teacher: System, students: Sequence[Student], texts: Texts, test: TestSet
) -> tuple[Sample, ...]:
    systems = {"teacher": teacher.artifact}
    for rung, same in rung_students(students, shape).items():
        systems[rung] = same[0].artifact
    lines = {name: texts[artifact] for name, artifact in systems.items()}
    return samples(test.sources, test.references, lines)


def _timed(entrants: Sequence[Entrant], rung: str) -> dict[str, Entrant]:
    """Return shape -> the first entrant on the rung."""
    found: dict[str, Entrant] = {}
    for one in entrants:
        if one.rung == rung:
            found.setdefault(one.shape, one)
    return found


@dataclass(frozen=True)
class _Engines:
    """Models at work on the test set."""

    test: TestSet
    config: EvaluationConfig
    device: str
    threads: int

    def translate(self, folder: Place) -> list[str]:
        lines = translated(folder.name, self._loaded(folder), self.test.sources, self.config)
        return [found.text for found in lines]

    def measure(self, folders: Mapping[str, Place]) -> dict[str, Any]:
        """Translate and time in turn; return plain data."""
        translators = {name: self._loaded(folder) for name, folder in folders.items()}
        hypotheses, speeds = measure(translators, self.test.sources, self.config)
        first = next(iter(translators.values()))
        return {
            "texts": {name: [found.text for found in lines] for name, lines in hypotheses.items()},
            "speeds": {name: speed.model_dump() for name, speed in speeds.items()},
            "parameters": {name: count_parameters(one.config) for name, one in translators.items()},
            "device": first.device,
            "threads": first.threads,
            "machine": described(),
        }

    def _loaded(self, folder: Place) -> Translator:
        quantization = self.config.quantization
        return Translator.from_directory(
            Path(folder), quantization=quantization, device=self.device, threads=self.threads
        )


def _translations(
    engines: _Engines,
    teacher: System,
    entrants: Sequence[Entrant],
    timed: Iterable[Entrant],
    scratch: Place,
) -> tuple[dict[str, Any], Texts]:
    """Return what was measured of the teacher and one student per shape, and all translations."""
    folders = {teacher.artifact: teacher.folder} | {one.artifact: one.folder for one in timed}
    measured = _kept(scratch / "timed.json", partial(engines.measure, folders))
    texts: Texts = dict(measured["texts"])
    for one in entrants:
        if one.artifact not in texts:
            place = scratch / f"{one.artifact.replace('/', '-')}.json"
            texts[one.artifact] = _kept(place, partial(engines.translate, one.folder))
    return measured, texts


def _speeds(measured: Mapping[str, Any]) -> dict[str, Speed]:
    return {name: Speed.model_validate(speed) for name, speed in measured["speeds"].items()}


def _kept(place: Place, make: Callable[[], Any]) -> Any:
    """Return the plain data that `make` returns, or returned before the run was killed."""
    if not pull(place).is_file():
        with whole(here(place)) as partial:
            partial.write_text(json.dumps(make()), encoding="utf-8")
        push(place)
    return json.loads(here(place).read_text(encoding="utf-8"))


def _students(
    entrants: Sequence[Entrant], texts: Mapping[str, Sequence[str]], test: TestSet
) -> tuple[Student, ...]:
    language = test.target_language
    baselines = {
        (one.shape, one.seed): texts[one.artifact] for one in entrants if one.rung == BASELINE
    }

    def tested(one: Entrant) -> float | None:
        if one.rung == BASELINE:
            return None
        baseline = baselines[one.shape, one.seed]
        return p_value(texts[one.artifact], baseline, test.references, language)

    return tuple(
        Student(
            shape=one.shape,
            rung=one.rung,
            seed=one.seed,
            artifact=one.artifact,
            published=one.published,
            quality=score(texts[one.artifact], test.references, language),
            p_value=tested(one),
            training_seconds=one.seconds[-1],
            curve=one.curve,
            seconds=one.seconds,
            settings=dict(one.settings),
        )
        for one in entrants
    )


def _shape(
    name: str, artifact: str, teacher: str, sizes: Mapping[str, int], speeds: Mapping[str, Speed]
) -> Shape:
    return Shape(
        name=name,
        parameters=sizes[artifact],
        compression=sizes[artifact] / sizes[teacher],
        speed=speeds[artifact],
        speed_up=speeds[teacher].seconds / speeds[artifact].seconds,
    )
