"""The report: one row per system, as JSON, as a table on the terminal and as a page."""

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from wd.config import Config
from wd.evaluation import further
from wd.evaluation.conditions import Conditions
from wd.evaluation.curves import Curve
from wd.evaluation.further import FurtherTest
from wd.evaluation.in_use import BATCH, InUse
from wd.evaluation.page import render
from wd.evaluation.plots import Line, Point, lines_svg, scatter_svg
from wd.evaluation.quality import Quality
from wd.evaluation.samples import Sample
from wd.evaluation.significance import shown_p_value
from wd.evaluation.speed import Speed

REPORT = "report.json"
FILES = (REPORT, "report.html", "plots.svg")


class Row(Config):
    """One system."""

    name: str
    artifact: str
    """Where its model comes from: `stage/label-hash`."""
    published: str
    """Which of its training's weights these are: `last`, `average` or `best`."""
    quality: Quality
    parameters: int
    compression: float
    """Parameters over the reference system's."""
    speed: Speed
    speed_up: float
    """The reference system's decoding time over this one's."""
    p_value: float | None
    """Of the BLEU difference to the baseline; None for the baseline itself."""
    cut: int = 0
    """Translations that reached `max_length` before their end."""
    curve: Curve = ()
    """Of its training, both phases counted on."""
    in_use: tuple[InUse, ...] = ()
    """What it takes, by how its weights are held; empty where that was not asked for."""


class Report(Conditions):
    """Teacher and students, one row each."""

    reference: str
    """The system that compression and speed-up are relative to: the teacher."""
    baseline: str
    """The system that p-values are relative to: the student of knowledge distillation."""
    rows: tuple[Row, ...]
    samples: tuple[Sample, ...] = ()
    further: tuple[FurtherTest, ...] = ()


COLUMNS = (
    "system",
    "BLEU",
    "chrF",
    "p",
    "params",
    "compression",
    "sent/s",
    "tok/s",
    "speed-up",
)


def cells(row: Row) -> tuple[str, ...]:
    """Return a row's text, in the order of `COLUMNS`."""
    return (
        row.name,
        f"{row.quality.bleu:.2f}",
        f"{row.quality.chrf:.2f}",
        shown_p_value(row.p_value),
        f"{row.parameters / 1e6:.2f} M",
        f"{row.compression:.2f}",
        f"{row.speed.sentences_per_second:.1f}",
        f"{row.speed.tokens_per_second:.0f}",
        f"{row.speed_up:.2f}",
    )


def table(report: Report) -> Table:
    """Return the terminal's table."""
    # Narrow enough for 80 columns, which is also what a log gets.
    result = Table(
        title=report.heading, caption=_caption(report), box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for column in COLUMNS:
        result.add_column(column, justify="left" if column == "system" else "right", no_wrap=True)
    for row in report.rows:
        result.add_row(*cells(row))
    return result


def use_table(report: Report) -> Table | None:
    """Return the terminal's second table, of the models in use; None where none was measured."""
    rows = use_cells(report)
    if not rows:
        return None
    result = Table(
        title="in use", caption=use_caption(report), box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for number, column in enumerate(use_columns(report)):
        head = column.replace(", ", "\n")
        result.add_column(head, justify="left" if number < 2 else "right", no_wrap=True)
    for row in rows:
        result.add_row(*row)
    return result


def use_columns(report: Report) -> tuple[str, ...]:
    """Return the heads of `use_cells`."""
    paces = [pace for row in report.rows[:1] for use in row.in_use[:1] for pace in use.paces]
    return (
        "system",
        "weights",
        "MB",
        "BLEU",
        *(
            f"{what}, {pace.threads} thr."
            for pace in paces
            for what in ("p50 ms", "p95 ms", "sent/s")
        ),
    )


def use_cells(report: Report) -> list[tuple[str, ...]]:
    """Return a row's text for each system and way to hold its weights."""
    return [
        (
            row.name,
            use.quantization,
            f"{use.megabytes:.1f}",
            f"{use.bleu:.2f}",
            *(
                text
                for pace in use.paces
                for text in (
                    f"{pace.milliseconds_median:.1f}",
                    f"{pace.milliseconds_p95:.1f}",
                    f"{pace.sentences_per_second:.1f}",
                )
            ),
        )
        for row in report.rows
        for use in row.in_use
    ]


def use_caption(report: Report) -> str:
    """Return what the figures of `use_cells` are."""
    return (
        f"p50 and p95: of one line alone, all threads working on it; sent/s: batches of {BATCH}, "
        f"each with a thread of its own; {min(report.decoding.use_sentences, report.sentences):,} "
        "of the test set's lines; MB: the weights"
    )


def plots(report: Report) -> str:
    """Return BLEU against parameters and against speed, as one SVG."""
    parameters = [Point(row.name, row.parameters / 1e6, row.quality.bleu) for row in report.rows]
    speeds = [
        Point(row.name, row.speed.sentences_per_second, row.quality.bleu) for row in report.rows
    ]
    panels = {"parameters (millions)": parameters, "sentences per second": speeds}
    return scatter_svg(panels, vertical="BLEU")


def curves(report: Report) -> str:
    """Return the validation BLEU of the students' trainings as an SVG; empty if none is known."""
    lines = [
        Line(row.name, *map(tuple, zip(*row.curve, strict=True)))
        for row in report.rows
        if row.curve and row.name != report.reference
    ]
    return lines_svg({"": lines}, "updates", "validation BLEU") if lines else ""


def page(report: Report) -> str:
    """Return the self-contained HTML page."""
    return render(
        "report.html",
        report=report,
        heading=report.heading,
        caption=_caption(report),
        columns=COLUMNS,
        rows=[cells(row) for row in report.rows],
        uses={
            "columns": use_columns(report),
            "rows": use_cells(report),
            "caption": use_caption(report),
        },
        further={"columns": further.COLUMNS, "rows": further.cells(report.further)},
        plots=plots(report),
        curves=curves(report),
        origin=report.origin,
    )


def write_report(report: Report, folder: Path) -> None:
    """Write `FILES`."""
    texts = (report.model_dump_json(indent=2) + "\n", page(report), plots(report))
    for name, text in zip(FILES, texts, strict=True):
        (folder / name).write_text(text, encoding="utf-8")


def read_report(folder: Path) -> Report:
    """Read `report.json`; raises ArtifactError where there is none or it is damaged."""
    return Report.read(folder / REPORT, "wd evaluate")


def _caption(report: Report) -> str:
    weights = ", ".join(f"{row.name} {row.published}" for row in report.rows)
    cuts = ", ".join(f"{row.name} {row.cut}" for row in report.rows if row.cut)
    cut = f"; cut at {report.decoding.max_length} pieces: {cuts}" if cuts else ""
    return (
        f"compression and speed-up: against {report.reference}; p: BLEU against {report.baseline}; "
        f"weights: {weights}; {report.settings}{cut}"
    )
