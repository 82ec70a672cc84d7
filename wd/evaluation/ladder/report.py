"""The ladder as JSON, as tables on the terminal, as plots and as a page."""

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from wd.evaluation.ladder.figures import Ladder, Row, Shape, Spread, band, rung_students
from wd.evaluation.page import render
from wd.evaluation.plots import Line, Point, lines_svg, scatter_svg
from wd.evaluation.significance import shown_p_value

LADDER = "ladder.json"
FILES = (LADDER, "ladder.html", "curves.svg", "pareto.svg")
COLUMNS = ("rung", "BLEU", "chrF", "vs teacher", "vs kd", "p", "updates", "to kd", "seconds")
WIDTH = 100
"""So many characters the terminal's tables may take."""
NOTHING = "–"


def cells(row: Row) -> tuple[str, ...]:
    """Return a row's text, in the order of `COLUMNS`."""
    return (
        row.rung,
        _spread(row.bleu),
        _spread(row.chrf),
        f"{row.to_teacher:+.2f}",
        NOTHING if row.to_baseline is None else f"{row.to_baseline:+.2f}",
        shown_p_value(row.p_value),
        str(row.updates),
        NOTHING if row.updates_to_baseline is None else str(row.updates_to_baseline),
        f"{row.training_seconds:.0f}",
    )


def teacher_cells(ladder: Ladder) -> tuple[str, ...]:
    """Return the teacher's text, in the order of `COLUMNS`."""
    teacher = ladder.teacher
    return (
        "teacher",
        f"{teacher.quality.bleu:.2f}",
        f"{teacher.quality.chrf:.2f}",
        *[NOTHING] * 6,
    )


def described(shape: Shape) -> str:
    """Return what all students of a shape have in common."""
    return (
        f"{shape.name}: {shape.parameters / 1e6:.2f} M parameters, "
        f"compression {shape.compression:.2f}, speed-up {shape.speed_up:.2f}"
    )


def tables(ladder: Ladder) -> list[Table]:
    """Return the terminal's tables, one per shape; each fits `WIDTH`."""
    shown = [_table(ladder, shape) for shape in ladder.shapes]
    shown[0].title = f"{ladder.heading}\n\n{shown[0].title}"
    shown[-1].caption = caption(ladder)
    return shown


def curves(ladder: Ladder) -> str:
    """Return validation BLEU against updates as an SVG, one panel per shape."""
    panels = {
        shape.name: [
            _line(rung, [student.curve for student in same])
            for rung, same in rung_students(ladder.students, shape.name).items()
        ]
        for shape in ladder.shapes
    }
    return lines_svg(panels, horizontal="updates", vertical="validation BLEU")


def pareto(ladder: Ladder) -> str:
    """Return BLEU against speed-up and against parameters as one SVG."""
    shapes, bleu = {one.name: one for one in ladder.shapes}, ladder.teacher.quality.bleu
    speeds, sizes = [], []
    for row in ladder.rows:
        shape = shapes[row.shape]
        speeds.append(Point(row.rung, shape.speed_up, row.bleu.mean, row.shape))
        sizes.append(Point(row.rung, shape.parameters / 1e6, row.bleu.mean, row.shape))
    speeds.append(Point("teacher", 1.0, bleu))  # last, for the rungs to have the curves' colours
    sizes.append(Point("teacher", ladder.teacher.parameters / 1e6, bleu))
    return scatter_svg({"speed-up": speeds, "parameters (millions)": sizes}, vertical="BLEU")


def page(ladder: Ladder) -> str:
    """Return the self-contained HTML page."""
    return render(
        "ladder.html",
        ladder=ladder,
        heading=ladder.heading,
        caption=caption(ladder),
        columns=COLUMNS,
        teacher=teacher_cells(ladder),
        shapes={
            described(shape): [cells(row) for row in ladder.rows if row.shape == shape.name]
            for shape in ladder.shapes
        },
        p_value=shown_p_value,
        curves=curves(ladder),
        pareto=pareto(ladder),
        origin=ladder.origin,
    )


def write_ladder(ladder: Ladder, folder: Path) -> None:
    """Write `FILES`."""
    texts = (ladder.model_dump_json(indent=2) + "\n", page(ladder), curves(ladder), pareto(ladder))
    for name, text in zip(FILES, texts, strict=True):
        (folder / name).write_text(text, encoding="utf-8")


def read_ladder(folder: Path) -> Ladder:
    """Read `ladder.json`; raises ArtifactError where there is none or it is damaged."""
    return Ladder.read(folder / LADDER, "wd ladder")


def caption(ladder: Ladder) -> str:
    """Return how the figures are to be read."""
    seeds = len(ladder.seeds)
    over = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    return (
        f"{over}; vs: difference in BLEU; p: BLEU against kd of the same seed, the largest of the "
        "seeds; updates: in total; to kd: the first validation that reaches kd's last validation "
        "BLEU (means over the seeds); seconds: of training; speed-up: against the teacher, "
        f"measured once per shape with the {ladder.timed} student of seed {ladder.seeds[0]}, all "
        f"in one run; {ladder.settings}"
    )


def _table(ladder: Ladder, shape: Shape) -> Table:
    shown = Table(
        title=described(shape),
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for column in COLUMNS:
        shown.add_column(column, justify="left" if column == "rung" else "right", no_wrap=True)
    shown.add_row(*teacher_cells(ladder))
    for row in ladder.rows:
        if row.shape == shape.name:
            shown.add_row(*cells(row))
    return shown


def _line(rung: str, curves: list[tuple[tuple[int, float], ...]]) -> Line:
    updates, means, lows, highs = zip(*band(curves), strict=True)
    return Line(rung, updates, means, lows, highs)


def _spread(value: Spread) -> str:
    if value.deviation is None:
        return f"{value.mean:.2f}"
    return f"{value.mean:.2f} ±{value.deviation:.2f}"
