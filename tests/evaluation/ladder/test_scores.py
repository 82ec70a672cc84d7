"""A ladder of tiny random models."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from wd.config import EvaluationConfig, StackShape
from wd.errors import ArtifactError, DataError
from wd.evaluation.compare import System
from wd.evaluation.ladder import scores
from wd.evaluation.ladder.figures import Ladder
from wd.evaluation.ladder.scores import Entrant, Texts, climb
from wd.evaluation.quality import score
from wd.evaluation.significance import p_value
from wd.evaluation.test_set import TestSet
from wd.model.directory import save_model
from wd.model.sizes import count_parameters
from wd.model.transformer import Transformer

SETTINGS = EvaluationConfig(beam_size=2, max_length=12, batch_tokens=256, speed_repeats=1)
NARROW = StackShape(layers=1, d_model=16, heads=2, feed_forward=32)


@pytest.fixture
def systems(
    tmp_path: Path, tokenizer_folder: Path, random_model: Callable[..., Transformer]
) -> tuple[System, list[Entrant]]:
    """A teacher, and two seeds of KD and WD of one shape."""
    models = {"teacher": random_model(0)}
    entrants = []
    for seed in (1, 2):
        for rung in ("kd", "wd"):
            name = f"{rung}-{seed}"
            models[name] = random_model(len(models), decoder=NARROW)
            entrants.append(
                Entrant(
                    shape="tiny",
                    rung=rung,
                    seed=seed,
                    folder=tmp_path / name,
                    artifact=f"student/{name}",
                    published="last",
                    curve=((10, float(seed)),),
                    seconds=(2.5,),
                    settings={"fine_tuning.dropout": "0"} if rung == "wd" else {},
                )
            )
    for name, model in models.items():
        save_model(tmp_path / name, model.config, model.state_dict(), tokenizer_folder)
    return System("teacher", tmp_path / "teacher", "teacher/t", "last"), entrants


@pytest.fixture
def test_set(sentences: list[str]) -> TestSet:
    lines = sentences[:20]
    return TestSet(lines, [line.upper() for line in lines], "en", "de")


@pytest.fixture
def climbed(
    systems: tuple[System, list[Entrant]], test_set: TestSet, tmp_path: Path
) -> Callable[..., tuple[Ladder, Texts]]:
    """Return a function that makes the ladder, of other entrants if it is given them."""
    teacher, entrants = systems
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def make(entrants: list[Entrant] = entrants) -> tuple[Ladder, Texts]:
        return climb(
            teacher,
            entrants,
            test_set,
            SETTINGS,
            title="t",
            updates=10,
            device="cpu",
            scratch=scratch,
        )

    return make


def test_students_are_scored_and_tested_against_their_own_seed(
    climbed: Callable[..., tuple[Ladder, Texts]],
    test_set: TestSet,
    random_model: Callable[..., Transformer],
) -> None:
    ladder, texts = climbed()
    references = test_set.references
    assert ladder.seeds == (1, 2)
    assert [row.rung for row in ladder.rows] == ["kd", "wd"]
    assert [row.settings for row in ladder.rows] == [{}, {"fine_tuning.dropout": "0"}]
    assert ladder.budgets[-1] == 10
    for student in ladder.students:
        lines = texts[student.artifact]
        assert student.quality == score(lines, references, "de")
        expected = None
        if student.rung == "wd":
            expected = p_value(lines, texts[f"student/kd-{student.seed}"], references, "de")
        assert student.p_value == expected
    assert ladder.teacher.quality == score(texts["teacher/t"], references, "de")
    for sample in ladder.shapes[0].samples:
        line = test_set.sources.index(sample.source)
        assert sample.reference == references[line]
        first = {"teacher": "teacher/t", "kd": "student/kd-1", "wd": "student/wd-1"}
        expected = {name: texts[artifact][line] for name, artifact in first.items()}
        assert sample.hypotheses == expected
    assert ladder.teacher.parameters == count_parameters(random_model().config)
    (shape,) = ladder.shapes
    assert shape.compression == shape.parameters / ladder.teacher.parameters < 1
    assert shape.speed_up == ladder.teacher.speed.seconds / shape.speed.seconds


def test_the_first_wd_student_is_timed_for_its_shape(
    climbed: Callable[..., tuple[Ladder, Texts]], monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[str] = []
    measure = scores.measure

    def listen(translators, *rest):
        timed.extend(translators)
        return measure(translators, *rest)

    monkeypatch.setattr(scores, "measure", listen)
    ladder, _ = climbed()
    assert (timed, ladder.timed) == (["teacher/t", "student/wd-1"], "wd")


def test_without_wd_the_baseline_is_timed(
    climbed: Callable[..., tuple[Ladder, Texts]], systems: tuple[System, list[Entrant]]
) -> None:
    ladder, texts = climbed([one for one in systems[1] if one.rung == "kd"])
    assert ladder.timed == "kd"
    assert set(texts) == {"teacher/t", "student/kd-1", "student/kd-2"}


def test_a_killed_climb_does_not_translate_again_what_is_done(
    climbed: Callable[..., tuple[Ladder, Texts]],
    systems: tuple[System, list[Entrant]],
    tmp_path: Path,
) -> None:
    *others, last = systems[1]
    with pytest.raises(ArtifactError, match="absent"):
        climbed([*others, replace(last, folder=tmp_path / "absent")])
    for one in others:
        one.folder.rename(one.folder.with_suffix(".gone"))
    ladder, texts = climbed()
    assert set(texts) == {"teacher/t", *(one.artifact for one in systems[1])}
    assert len(ladder.students) == 4


def test_an_empty_test_set_is_refused(systems: tuple[System, list[Entrant]], tmp_path) -> None:
    empty = TestSet([], [], "en", "de")
    with pytest.raises(DataError, match="no lines"):
        climb(*systems, empty, SETTINGS, title="t", updates=10, scratch=tmp_path)
