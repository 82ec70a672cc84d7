"""Whole comparisons of tiny random models."""

from collections.abc import Callable
from pathlib import Path

import pytest

from wd.config import EvaluationConfig, StackShape
from wd.decoding.engine import Translator
from wd.errors import ArtifactError, DataError
from wd.evaluation.compare import System, compare
from wd.evaluation.quality import score
from wd.evaluation.speed import measure
from wd.evaluation.test_set import TestSet
from wd.model.directory import save_model
from wd.model.sizes import count_parameters
from wd.model.transformer import Transformer

SETTINGS = EvaluationConfig(beam_size=2, max_length=12, batch_tokens=256, speed_repeats=2)


@pytest.fixture
def systems(
    tmp_path: Path, tokenizer_folder: Path, random_model: Callable[..., Transformer]
) -> list[System]:
    """A teacher and two smaller students."""
    narrow = StackShape(layers=1, d_model=16, heads=2, feed_forward=32)
    models = {
        "teacher": random_model(0),
        "KD": random_model(1, decoder=narrow),
        "WD": random_model(2, decoder=narrow),
    }
    for name, model in models.items():
        save_model(tmp_path / name, model.config, model.state_dict(), tokenizer_folder)
    return [System(name, tmp_path / name, f"student/{name}-0", "last") for name in models]


@pytest.fixture
def test_set(sentences: list[str]) -> TestSet:
    lines = [*sentences[:20], ""]
    return TestSet(lines, [line.upper() or "nichts" for line in lines], "en", "de")


def test_rows_hold_what_each_part_says(
    systems: list[System], test_set: TestSet, random_model: Callable[..., Transformer]
) -> None:
    report, texts = compare(systems, test_set, SETTINGS, title="tiny", baseline="KD", threads=1)
    assert [row.name for row in report.rows] == ["teacher", "KD", "WD"]
    assert report.sentences == 21
    assert (report.device, report.threads) == ("cpu", 1)
    teacher = count_parameters(random_model().config)
    for row in report.rows:
        assert row.quality == score(texts[row.name], test_set.references, "de")
        assert row.compression == row.parameters / teacher
        assert row.speed.sentences_per_second == pytest.approx(21 / row.speed.seconds)
        assert row.speed_up == report.rows[0].speed.seconds / row.speed.seconds
        assert (row.p_value is None) == (row.name == "KD")
    assert report.rows[0].compression == 1.0
    assert report.rows[1].compression < 1.0
    for sample in report.samples:
        line = test_set.sources.index(sample.source)
        assert sample.hypotheses == {name: lines[line] for name, lines in texts.items()}


def test_translations_that_were_cut_are_counted_and_told(
    write_parrot: Callable[..., Path], test_set: TestSet
) -> None:
    systems = [
        System(name, write_parrot(name, 20, endless=name == "KD"), f"student/{name}-0", "last")
        for name in ("teacher", "KD")
    ]
    with pytest.warns(UserWarning, match="KD: ") as told:
        report, _ = compare(systems, test_set, SETTINGS, title="tiny", baseline="KD", threads=1)
    assert [row.cut for row in report.rows] == [0, 20]
    (message,) = [str(one.message) for one in told]
    told_first = "KD: 20 of 21 translations were cut at 12 pieces: raise evaluation.max_length"
    assert message.startswith(told_first)


def test_target_tokens_are_counted_with_their_end_markers(
    systems: list[System], sentences: list[str]
) -> None:
    translator = Translator.from_directory(systems[0].folder, threads=1)
    hypotheses, speeds = measure({"one": translator}, sentences[:5], SETTINGS)
    tokens = sum(found.tokens for found in hypotheses["one"])
    assert tokens >= 5
    assert speeds["one"].tokens_per_second == pytest.approx(tokens / speeds["one"].seconds)


def test_an_empty_test_set_is_refused_before_any_model_is_loaded(tmp_path: Path) -> None:
    absent = [System("teacher", tmp_path / "absent", "", "last")]
    with pytest.raises(DataError, match="no lines"):
        compare(absent, TestSet([], [], "en", "de"), SETTINGS, title="", baseline="teacher")


def test_a_missing_model_is_refused(tmp_path: Path, test_set: TestSet) -> None:
    absent = [System("teacher", tmp_path / "absent", "", "last")]
    with pytest.raises(ArtifactError, match="absent"):
        compare(absent, test_set, SETTINGS, title="", baseline="teacher")


def test_models_in_use_are_measured_as_they_would_be_used(
    systems: list[System], test_set: TestSet
) -> None:
    settings = SETTINGS.model_copy(update={"use_sentences": 8})
    report, _ = compare(systems, test_set, settings, title="", baseline="KD", threads=2)
    for row in report.rows:
        assert [use.quantization for use in row.in_use] == ["float32", "int8"]
        exact, rounded = row.in_use
        assert exact.bleu == row.quality.bleu
        assert 3 < exact.megabytes / rounded.megabytes < 4
        assert exact.megabytes == pytest.approx(4e-6 * row.parameters)
        for use in row.in_use:
            assert [pace.threads for pace in use.paces] == [1, 2]
            for pace in use.paces:
                assert 0 < pace.milliseconds_median <= pace.milliseconds_p95
                assert pace.sentences_per_second > 0
    # One thread: nothing is measured twice; none asked for: nothing at all.
    report, _ = compare(systems, test_set, settings, title="", baseline="KD", threads=1)
    assert {len(use.paces) for row in report.rows for use in row.in_use} == {1}
    settings = SETTINGS.model_copy(update={"use_sentences": 0})
    report, _ = compare(systems, test_set, settings, title="", baseline="KD", threads=1)
    assert {row.in_use for row in report.rows} == {()}
