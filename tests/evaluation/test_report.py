import io
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from wd.config import EvaluationConfig
from wd.errors import ArtifactError
from wd.evaluation.in_use import InUse, Pace
from wd.evaluation.origin import Origin
from wd.evaluation.quality import Quality
from wd.evaluation.report import (
    Report,
    Row,
    cells,
    page,
    plots,
    read_report,
    table,
    use_table,
    write_report,
)
from wd.evaluation.samples import Sample
from wd.evaluation.speed import Speed

ORIGIN = Origin(
    command="wd run quickstart", commit="abc", date="2026-01-01", machine="here, 2 CPUs"
)


def _row(name: str, parameters: int, bleu: float, p: float | None) -> Row:
    return Row(
        name=name,
        artifact=f"student/{name}-0123456789ab",
        published="average",
        quality=Quality(bleu=bleu, bleu_signature="tok:13a", chrf=55.5, chrf_signature="nc:6"),
        parameters=parameters,
        compression=parameters / 60_000_000,
        speed=Speed(seconds=2.5, sentences_per_second=123.4, tokens_per_second=2345.6),
        speed_up=60_000_000 / parameters,
        p_value=p,
    )


@pytest.fixture
def report() -> Report:
    return Report(
        title="quickstart, student tiny",
        source_language="en",
        target_language="de",
        sentences=1234,
        decoding=EvaluationConfig(beam_size=4),
        device="cpu",
        threads=2,
        origin=ORIGIN,
        reference="teacher",
        baseline="KD",
        rows=(
            _row("teacher", 60_000_000, 27.31, 0.0004),
            _row("KD", 34_000_000, 25.08, None),
            _row("WD", 34_000_000, 26.02, 0.0312),
        ),
        samples=(
            Sample(
                source="<b>bold & brave</b>",
                reference="fett",
                hypotheses={"teacher": "fett", "KD": "kühn", "WD": "mutig"},
            ),
        ),
    )


class _Cells(HTMLParser):
    """Collects the text of table cells."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.rows[-1][-1] += data


def test_json_round_trips(report: Report, tmp_path: Path) -> None:
    write_report(report, tmp_path)
    assert read_report(tmp_path) == report


def test_page_holds_every_row_and_sample_escaped(report: Report) -> None:
    text = page(report)
    parser = _Cells()
    parser.feed(text)
    for row in report.rows:
        assert list(cells(row)) in parser.rows
        assert [row.name, row.artifact] in parser.rows
    for name, told in report.origin.model_dump().items():
        assert [name, told] in parser.rows
    assert ["source", "<b>bold & brave</b>"] in parser.rows
    assert "<b>bold" not in text


def test_curves_are_those_of_the_students(report: Report) -> None:
    heading = "Validation BLEU during training"
    assert heading not in page(report)
    curve = ((10, 1.0), (20, 3.0))
    first, *students = (row.model_copy(update={"curve": curve}) for row in report.rows)
    assert heading not in page(report.model_copy(update={"rows": (first, *report.rows[1:])}))
    shown = page(report.model_copy(update={"rows": (first, *students)}))
    assert heading in shown
    assert shown.count("<svg") == 2


def test_page_needs_nothing_from_elsewhere(report: Report) -> None:
    text = page(report)
    assert "<svg" in text
    for reference in ("src=", "@import", "<link", "<script"):
        assert reference not in text


def test_terminal_table_fits_80_columns_uncut(report: Report) -> None:
    written = io.StringIO()
    Console(file=written, width=80).print(table(report))
    text = written.getvalue()
    assert "…" not in text
    for row in report.rows:
        assert any(line.split() == " ".join(cells(row)).split() for line in text.splitlines())


def test_what_was_cut_is_told_below_the_table(report: Report) -> None:
    assert "cut at" not in page(report)
    teacher, *students = report.rows
    cut = teacher.model_copy(update={"cut": 17})
    told = report.model_copy(update={"rows": (cut, *students)})
    assert "cut at 256 pieces: teacher 17" in page(told)


def test_plots_are_valid_deterministic_svg_with_every_system(report: Report) -> None:
    text = plots(report)
    ElementTree.fromstring(text)
    assert text == plots(report)
    for row in report.rows:
        assert f">{row.name}<" in text


def test_a_missing_or_damaged_report_is_refused(report: Report, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such report"):
        read_report(tmp_path)
    write_report(report, tmp_path)
    path = tmp_path / "report.json"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ArtifactError, match="not a report"):
        read_report(tmp_path)


def test_models_in_use_are_shown_where_they_were_measured(report: Report, tmp_path: Path) -> None:
    assert use_table(report) is None
    assert "in-use" not in page(report)
    pace = {"milliseconds_median": 4.21, "milliseconds_p95": 9.87, "sentences_per_second": 321.5}
    use = InUse(
        quantization="int8",
        megabytes=35.7,
        bleu=25.99,
        paces=(Pace(threads=1, **pace), Pace(threads=2, **pace)),
    )
    rows = tuple(row.model_copy(update={"in_use": (use,)}) for row in report.rows)
    report = report.model_copy(update={"rows": rows})
    write_report(report, tmp_path)
    assert read_report(tmp_path) == report
    shown = page(report)
    told = io.StringIO()
    Console(file=told, width=80).print(use_table(report))
    for text in ("int8", "35.7", "25.99", "4.2", "9.9", "321.5"):
        assert text in shown
        assert text in told.getvalue()
