"""The evaluation and pseudo-data stages, on models that were never trained."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.context import Run, Work
from pipelines.stages import evaluation as evaluate
from pipelines.stages import pseudo
from wd.artifacts import Artifact
from wd.config import (
    CorpusConfig,
    EvaluationConfig,
    PseudoConfig,
    RayConfig,
    Recipe,
    StackShape,
    overridden,
)
from wd.data.schema import CORPUS, PSEUDO, part_files, part_name
from wd.errors import DataError
from wd.evaluation.quality import score
from wd.evaluation.report import read_report
from wd.model.directory import save_model
from wd.model.transformer import Transformer
from wd.tracking import NullTracker

DECODING = {"beam_size": 2, "max_length": 12, "batch_tokens": 256}


def _write_parts(folder: Path, lines: list[str], size: int) -> None:
    folder.mkdir()
    for index, start in enumerate(range(0, len(lines), size)):
        part = lines[start : start + size]
        columns = {
            "id": [f"{folder.name}-{start + row}" for row in range(len(part))],
            "source": part,
            "target": [line.upper() for line in part],
            "origin": ["here"] * len(part),
        }
        pq.write_table(pa.table(columns, schema=CORPUS), folder / part_name(index))


@pytest.fixture
def run(
    tmp_path: Path,
    sentences: list[str],
    tokenizer_folder: Path,
    random_model: Callable[..., Transformer],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Run]:
    """A run whose corpus, teacher and students come from here instead of from work."""
    narrow = StackShape(layers=1, d_model=16, heads=2, feed_forward=32)

    def corpus(run: Run) -> Artifact:
        def build(work: Work) -> dict[str, int]:
            _write_parts(work.out / "train", sentences[:50], 20)
            _write_parts(work.out / "test", sentences[50:80], 20)
            if run.recipe.corpus.test:
                _write_parts(work.out / "test-talks", sentences[80:90], 20)
            return {}

        return run.stage("corpus", version=0, config={}, inputs={}, build=build)

    def model(run: Run, name: str, seed: int, **changes: object) -> Artifact:
        def build(work: Work) -> dict[str, Any]:
            made = random_model(seed, **changes)
            save_model(work.out, made.config, made.state_dict(), tokenizer_folder)
            figures = {"update": 10, "bleu": float(seed)}
            return {"published": "last", "validation": figures, "history": [figures]}

        return run.stage(name, version=0, config={"seed": seed}, inputs={}, build=build)

    def teacher(run: Run) -> Artifact:
        return model(run, "teacher", 0)

    def student(run: Run, init: str) -> Artifact:
        return model(run, "student", {"kd": 1, "wd": 2}[init], decoder=narrow)

    def generator(run: Run) -> Artifact:
        return model(run, "generator", 3, decoder=narrow)

    monkeypatch.setattr(evaluate, "generator", generator)
    for module in (evaluate, pseudo):
        monkeypatch.setattr(module, "corpus", corpus)
    monkeypatch.setattr(evaluate, "first_teacher", teacher)
    monkeypatch.setattr(pseudo, "teacher", teacher)
    monkeypatch.setattr(evaluate, "student", student)
    monkeypatch.setattr(Run, "tracker", NullTracker())
    recipe = Recipe(
        name="tiny",
        source_language="en",
        target_language="de",
        root=str(tmp_path),
        evaluation=EvaluationConfig(**DECODING, speed_repeats=1),
        pseudo=PseudoConfig(**DECODING),
        ray=RayConfig(workers=0, map_cpus=0.5),
    )
    with Run(recipe) as opened:
        yield opened


def test_report_outputs_and_metrics_agree(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    made = evaluate.evaluation(run)
    report = json.loads((made.path / "report.json").read_text())
    assert [row["name"] for row in report["rows"]] == ["teacher", "KD", "WD"]
    page = (made.path / "report.html").read_text()
    for row in report["rows"]:
        assert row["artifact"] in page
        assert made.metrics[row["name"]]["bleu"] == row["quality"]["bleu"]
        assert made.metrics[row["name"]]["compression"] == row["compression"]
        assert made.metrics[row["name"]]["cut"] == row["cut"]
        assert len((made.path / f"{row['name']}.txt").read_text().splitlines()) == 30
    curves = [row["curve"] for row in report["rows"]]
    assert curves == [[[10, 0.0]], [[10, 1.0]], [[10, 3.0], [20, 2.0]]]
    assert report["sentences"] == 30
    evaluate.print_table(made)
    told = capsys.readouterr().out
    for word in ("teacher", "KD", "WD", "speed-up", "report.html", "chrF nrefs:1|case:mixed"):
        assert word in told


def test_further_test_sets_have_scores_of_their_own(
    run: Run, sentences: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = CorpusConfig(test={"news": ("news.{lang}",), "talks": ("talks.{lang}",)})
    with Run(run.recipe.model_copy(update={"corpus": corpus})) as several:
        made = evaluate.evaluation(several)
    report = read_report(made.path)
    (talks,) = report.further
    assert (talks.name, talks.sentences) == ("talks", 10)
    references = [line.upper() for line in sentences[80:90]]
    for row in talks.rows:
        said = (made.path / f"{row.name}.talks.txt").read_text().split("\n")[:-1]
        assert row.quality == score(said, references, "de")
        assert (row.p_value is None) == (row.name == "KD")
        assert f"{row.quality.chrf:.2f}" in (made.path / "report.html").read_text()
    assert [row.name for row in talks.rows] == [row.name for row in report.rows]
    evaluate.print_table(made)
    assert "further test sets" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_a_test_set_may_be_named_when_all_is_trained(
    run: Run, sentences: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    before = evaluate.evaluation(run)
    lines = [sentences[0].upper(), *sentences[90:95], sentences[1], sentences[1]]
    (tmp_path / "news.en").write_text("\n".join(lines) + "\n")
    (tmp_path / "news.de").write_text("\n".join(map(str.upper, lines)) + "\n")
    named = {"corpus.dir": str(tmp_path), "evaluation.tests": {"news": ["news.{lang}"]}}
    later = overridden(run.recipe, named)
    with Run(later) as again:
        made = evaluate.evaluation(again)
    inputs = dict(made.manifest["inputs"])
    assert inputs.pop("tests").startswith("corpus/tiny-tests-")
    assert inputs == before.manifest["inputs"]
    (news,) = read_report(made.path).further
    assert (news.name, news.sentences, news.in_training) == ("news", 8, 3)
    for row in news.rows:
        said = (made.path / f"{row.name}.news.txt").read_text().split("\n")[:-1]
        assert row.quality == score(said, [line.upper() for line in lines], "de")
    assert "test-news: 3 of 8 stand in the training text" in caplog.text
    assert "in training" in (made.path / "report.html").read_text()
    (tmp_path / "moved").mkdir()
    for name in ("news.en", "news.de"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    with Run(overridden(later, {"corpus.dir": str(tmp_path / "moved")})) as moved:
        assert evaluate.evaluation(moved).name == made.name


def test_a_second_evaluation_does_nothing(run: Run) -> None:
    first = evaluate.evaluation(run)
    with Run(run.recipe) as again:
        assert evaluate.evaluation(again).manifest == first.manifest


def test_a_corpus_without_test_lines_is_refused(
    run: Run, sentences: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def corpus(run: Run) -> Artifact:
        def build(work: Work) -> dict[str, int]:
            _write_parts(work.out / "train", sentences[:9], 20)
            return {}

        return run.stage("corpus", version=1, config={}, inputs={}, build=build)

    monkeypatch.setattr(evaluate, "corpus", corpus)
    with pytest.raises(DataError, match="test set has no lines"):
        evaluate.evaluation(run)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_pseudo_data_are_row_for_row_with_the_corpus(run: Run) -> None:
    text, made = pseudo.corpus(run), pseudo.pseudo(run)
    sources, hypotheses = part_files(text.path / "train"), part_files(made.path)
    assert [part.name for part in hypotheses] == [part.name for part in sources]
    assert len(sources) == 3
    for source, hypothesis in zip(sources, hypotheses, strict=True):
        table = pq.read_table(hypothesis)
        assert table.schema.equals(PSEUDO)
        assert table["id"].equals(pq.read_table(source)["id"])
        assert table["kept"].to_pylist() == [fault is None for fault in table["fault"].to_pylist()]
    scores = [score for part in hypotheses for score in pq.read_table(part)["score"].to_pylist()]
    assert made.metrics["sentences"] == len(scores) == 50
    assert made.metrics["mean_score"] == pytest.approx(sum(scores) / 50)
    assert made.metrics["sentences_per_second_per_device"] > 0
    report = json.loads((made.path / "report.json").read_text())
    assert report.pop("examples") == []
    assert report.pop("decoding") == ["cpu, float32, 256 pieces a batch"]
    assert report == made.metrics
