import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from xml.etree import ElementTree

import pytest
from rich.console import Console

from wd.config import EvaluationConfig
from wd.errors import ArtifactError
from wd.evaluation.curves import joined, seconds_at
from wd.evaluation.ladder.figures import (
    Ladder,
    Shape,
    Student,
    Teacher,
    band,
    budgets,
    rows_of,
    spread,
    updates_to,
)
from wd.evaluation.ladder.report import (
    FILES,
    WIDTH,
    cells,
    curves,
    page,
    pareto,
    plots,
    read_ladder,
    tables,
    write_ladder,
)
from wd.evaluation.origin import Origin
from wd.evaluation.quality import Quality
from wd.evaluation.samples import Sample
from wd.evaluation.speed import Speed

SPEED = Speed(seconds=2.5, sentences_per_second=123.4, tokens_per_second=2345.6)


def _quality(bleu: float) -> Quality:
    return Quality(bleu=bleu, bleu_signature="tok:13a", chrf=bleu + 20, chrf_signature="nc:6")


def _student(
    rung: str, seed: int, bleu: float, curve: Sequence[float], p: float | None, shape: str = "tiny"
) -> Student:
    """Return a student that was validated every 100 updates."""
    return Student(
        shape=shape,
        rung=rung,
        seed=seed,
        artifact=f"student/{shape}-{rung}-{seed}",
        published="last",
        quality=_quality(bleu),
        p_value=p,
        training_seconds=100.0 * seed,
        curve=tuple((100 * step, value) for step, value in enumerate(curve, start=1)),
        seconds=tuple(25.0 * seed * step for step, _ in enumerate(curve, start=1)),
        settings={"fine_tuning.dropout": "0.2"} if (rung, shape) == ("kd", "small") else {},
    )


STUDENTS = (
    _student("scratch", 1, 10.0, [1, 2, 3, 4], 0.01),
    _student("kd", 1, 20.0, [5, 9, 15, 14], None),
    _student("wd (xavier)", 1, 21.0, [2, 12, 16, 20], 0.2),
    _student("kd", 1, 30.0, [5, 6, 7, 8], None, "small"),
    _student("scratch", 2, 12.0, [1, 2, 3, 6], 0.002),
    _student("kd", 2, 21.0, [5, 9, 11, 12], None),
    _student("wd (xavier)", 2, 23.0, [4, 16, 18, 20], 0.0001),
    _student("kd", 2, 32.0, [5, 6, 7, 8], None, "small"),
)


@pytest.fixture
def ladder() -> Ladder:
    def shape(name: str, parameters: int) -> Shape:
        return Shape(
            name=name,
            parameters=parameters,
            compression=parameters / 60e6,
            speed=SPEED,
            speed_up=60e6 / parameters,
            samples=(Sample(source="a", reference="b", hypotheses={"kd": "<c>"}),),
        )

    return Ladder(
        title="quickstart",
        source_language="en",
        target_language="de",
        sentences=1234,
        decoding=EvaluationConfig(beam_size=4),
        device="cpu",
        threads=2,
        origin=Origin(command="wd ladder r", commit="abc", date="2026-01-01", machine="here"),
        seeds=(1, 2),
        budgets=budgets(400),
        timed="kd",
        teacher=Teacher(
            artifact="teacher/t", quality=_quality(25.0), parameters=60_000_000, speed=SPEED
        ),
        shapes=(shape("tiny", 34_000_000), shape("small", 50_000_000)),
        rows=rows_of(STUDENTS, _quality(25.0), budgets(400)),
        students=STUDENTS,
    )


def test_later_phases_count_on_from_earlier_ones() -> None:
    first = [{"phase": "generator", "update": update, "bleu": update / 10} for update in (50, 80)]
    second = [{"phase": "student", "update": update, "bleu": 9.0} for update in (50, 60)]
    curve = joined([first, second])
    assert [update for update, _ in curve] == [50, 80, 130, 140]
    assert curve[:2] == joined([first])
    assert [bleu for _, bleu in curve] == [5.0, 8.0, 9.0, 9.0]
    assert seconds_at([(first, 16.0), (second, 30.0)]) == (10.0, 16.0, 41.0, 46.0)


def test_a_spread_is_of_a_sample_and_unknown_for_one_value() -> None:
    assert spread([1.0, 2.0, 4.0]).mean == pytest.approx(7 / 3)
    assert spread([1.0, 3.0]).deviation == pytest.approx(2**0.5)
    assert spread([5.0, 5.0, 5.0]).deviation == 0.0
    assert spread([5.0]).deviation is None


def test_a_band_holds_every_curve_and_ends_where_the_first_one_stopped() -> None:
    one, other = _student("wd", 1, 0.0, [1, 4, 5], None), _student("wd", 3, 0.0, [3, 2], None)
    points = band([one, other])
    assert [point.seconds for point in points] == [50.0, 100.0]
    for point, *places in zip(points, one.curve[:2], other.curve, strict=True):
        values = [bleu for _, bleu in places]
        assert point.update == places[0][0]
        assert (point.low, point.mean, point.high) == (min(values), mean(values), max(values))
    apart = other.model_copy(update={"curve": ((100, 3.0), (201, 2.0))})
    with pytest.raises(ValueError, match=r"validated at (200 and \[201\]|201 and \[200\])"):
        band([one, apart])


def test_what_is_reached_within_a_budget_never_falls() -> None:
    assert budgets(9600) == (1200, 2400, 4800, 9600)
    stopped = rows_of(
        [_student("kd", 1, 0.0, [5, 9, 7], None)], _quality(25.0), (50, 100, 250, 800)
    )
    assert stopped[0].within == (None, 5.0, 9.0, 9.0)
    assert stopped[0].updates == 300
    seeds = [_student("kd", 1, 0.0, [5, 9, 7], None), _student("kd", 2, 0.0, [3, 6, 8, 11], None)]
    (row,) = rows_of(seeds, _quality(25.0), (200, 400))
    assert row.within == (7.5, 10.0), "each one's best, also where another has stopped"


def test_a_target_is_reached_at_the_first_validation_that_is_not_below_it() -> None:
    points = band([_student("kd", 1, 0.0, [1.0, 4.0, 2.0, 5.0], None)])
    assert [updates_to(points, target) for target in (0.5, 2.0, 4.0, 4.5, 5.1)] == [
        *(100, 200, 200, 400),
        None,
    ]


def test_rows_compare_with_the_baseline_of_their_own_shape() -> None:
    rows = {(row.shape, row.rung): row for row in rows_of(STUDENTS, _quality(25.0), budgets(400))}
    assert list(rows) == [
        *(("tiny", "scratch"), ("tiny", "kd"), ("tiny", "wd (xavier)")),
        ("small", "kd"),
    ]
    wd, kd, scratch = rows["tiny", "wd (xavier)"], rows["tiny", "kd"], rows["tiny", "scratch"]
    assert wd.bleu.mean == 22.0
    assert wd.chrf.mean == 42.0
    assert (wd.to_teacher, wd.to_baseline, wd.p_value) == (-3.0, 1.5, 0.2)
    assert (kd.to_baseline, kd.p_value) == (None, None)
    assert scratch.p_value == 0.01
    assert {row.updates for row in rows.values()} == {400}
    assert wd.training_seconds == 150.0
    # The baseline's best validation is 13 on average, its third and its last.
    assert (wd.updates_to_baseline, kd.updates_to_baseline) == (200, 300)
    assert scratch.updates_to_baseline is None
    assert rows["small", "kd"].updates_to_baseline == 400


def test_what_is_written_reads_back_and_damage_is_refused(ladder: Ladder, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such ladder"):
        read_ladder(tmp_path)
    write_ladder(ladder, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)
    assert read_ladder(tmp_path) == ladder
    path = tmp_path / "ladder.json"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ArtifactError, match="not a ladder"):
        read_ladder(tmp_path)


def test_the_terminal_s_tables_fit_and_are_not_cut(ladder: Ladder) -> None:
    written = io.StringIO()
    console = Console(file=written, width=WIDTH)
    for table in tables(ladder):
        console.print(table)
    text = written.getvalue()
    assert "…" not in text
    for row in ladder.rows:
        shown = " ".join(cells(row)).split()
        assert any(line.split() == shown for line in text.splitlines())
    assert "with the kd student of seed 1" in " ".join(text.split())
    assert "small, kd: fine_tuning.dropout=0.2" in " ".join(text.split())
    assert any(
        line.split() == ["tiny", "kd", "–", "5.00", "9.00", "13.50"] for line in text.splitlines()
    )


def test_the_page_holds_every_student_and_needs_nothing_from_elsewhere(ladder: Ladder) -> None:
    text = page(ladder, plots(ladder))
    for student in ladder.students:
        assert f"<code>{student.artifact}</code>" in text
    for row in ladder.rows:
        told = "".join(f"<td>{cell}</td>" for cell in cells(row))
        assert told.replace("+", "&#43;") in text.replace("+", "&#43;")
    assert "&lt;c&gt;" in text
    for told in ladder.origin.model_dump().values():
        assert told in text
    assert text.count("<svg") == 3
    for reference in ("src=", "@import", "<link", "<script"):
        assert reference not in text


def test_plots_are_deterministic_svg_with_every_shape_and_rung(ladder: Ladder) -> None:
    assert curves(ladder, "seconds") != curves(ladder)
    for plot in (curves, partial(curves, against="seconds"), pareto):
        text = plot(ladder)
        ElementTree.fromstring(text)
        assert text == plot(ladder)
        for name in ("tiny", "small", "scratch", "kd", "wd (xavier)"):
            assert text.count(f">{name}<") == 1
    assert ">teacher<" in pareto(ladder)
