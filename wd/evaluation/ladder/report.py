"""The ladder as JSON, as tables on the terminal and in Markdown, as plots and as a page."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table

from wd.evaluation.ladder.figures import (
    BandPoint,
    Ladder,
    Row,
    Shape,
    Spread,
    band,
    rung_students,
)
from wd.evaluation.page import render
from wd.evaluation.plots import Line, Point, lines_svg, scatter_svg
from wd.evaluation.significance import shown_p_value

LADDER = "ladder.json"
FILES = (LADDER, "ladder.html", "ladder.md", "curves.svg", "seconds.svg", "pareto.svg")
COLUMNS = ("rung", "BLEU", "chrF", "vs teacher", "vs kd", "p", "updates", "to kd", "seconds")
WIDTH = 100
"""So many characters the terminal's tables may take."""
NOTHING = "–"
WITHIN = "best validation BLEU within so many updates"
_NAMES = ("student", "rung")


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


def scores(ladder: Ladder) -> dict[str, list[tuple[str, ...]]]:
    """Return each shape, described -> the teacher's and its rows' text."""
    return {
        described(shape): [
            teacher_cells(ladder),
            *(cells(row) for row in ladder.rows if row.shape == shape.name),
        ]
        for shape in ladder.shapes
    }


def tables(ladder: Ladder) -> list[Table]:
    """Return the terminal's tables: one per shape, then what budgets reach; they fit `WIDTH`."""
    shown = [_table(title, COLUMNS, rows) for title, rows in scores(ladder).items()]
    shown[0].title = f"{ladder.heading}\n\n{shown[0].title}"
    shown[-1].caption = caption(ladder)
    return [*shown, _table(WITHIN, within_columns(ladder), map(within_cells, ladder.rows))]


def markdown(ladder: Ladder) -> str:
    """Return the terminal's tables and how they came about, to be pasted into other pages."""
    parts = [ladder.heading]
    for title, rows in scores(ladder).items():
        parts += [title, _markdown(COLUMNS, rows)]
    parts += [WITHIN, _markdown(within_columns(ladder), map(within_cells, ladder.rows))]
    origin = ladder.origin
    came_by = f"`{origin.command}`: commit {origin.commit}, {origin.date}, {origin.machine}"
    parts += [caption(ladder), ladder.teacher.quality.signatures, came_by]
    return "\n\n".join(parts) + "\n"


def within_columns(ladder: Ladder) -> tuple[str, ...]:
    """Return the head of the table of what is reached within a budget."""
    return ("student", "rung", *(f"{updates:,}" for updates in ladder.budgets))


def within_cells(row: Row) -> tuple[str, ...]:
    """Return a row's text, in the order of `within_columns`."""
    reached = (NOTHING if bleu is None else f"{bleu:.2f}" for bleu in row.within)
    return (row.shape, row.rung, *reached)


def curves(ladder: Ladder, against: Literal["updates", "seconds"] = "updates") -> str:
    """Return validation BLEU against updates or seconds as an SVG, one panel per shape."""
    panels = {
        shape.name: [
            _line(rung, band(same), against)
            for rung, same in rung_students(ladder.students, shape.name).items()
        ]
        for shape in ladder.shapes
    }
    horizontal = "updates" if against == "updates" else "seconds of training"
    return lines_svg(panels, horizontal=horizontal, vertical="validation BLEU")


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


def plots(ladder: Ladder) -> dict[str, str]:
    """Return file name -> SVG of all plots."""
    return {
        "curves.svg": curves(ladder),
        "seconds.svg": curves(ladder, "seconds"),
        "pareto.svg": pareto(ladder),
    }


def page(ladder: Ladder, drawn: Mapping[str, str]) -> str:
    """Return the self-contained HTML page, with what `plots` has drawn."""
    return render(
        "ladder.html",
        ladder=ladder,
        heading=ladder.heading,
        caption=caption(ladder),
        columns=COLUMNS,
        shapes=scores(ladder),
        within_title=WITHIN,
        within_columns=within_columns(ladder),
        within=[within_cells(row) for row in ladder.rows],
        p_value=shown_p_value,
        plots=drawn,
        origin=ladder.origin,
    )


def write_ladder(ladder: Ladder, folder: Path) -> None:
    """Write `FILES`."""
    drawn = plots(ladder)
    told = ladder.model_dump_json(indent=2) + "\n"
    texts = (told, page(ladder, drawn), markdown(ladder), *drawn.values())
    for name, text in zip(FILES, texts, strict=True):
        (folder / name).write_text(text, encoding="utf-8")


def read_ladder(folder: Path) -> Ladder:
    """Read `ladder.json`; raises ArtifactError where there is none or it is damaged."""
    return Ladder.read(folder / LADDER, "wd ladder")


def caption(ladder: Ladder) -> str:
    """Return how the figures are to be read."""
    seeds = len(ladder.seeds)
    over = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    own = "".join(f"; {row.shape}, {row.rung}: {_own(row)}" for row in ladder.rows if row.settings)
    return (
        f"{over}; vs: difference in BLEU; p: BLEU against kd of the same seed, the largest of the "
        "seeds; updates: in total; to kd: the first validation that reaches kd's best validation "
        "BLEU (means over the seeds); seconds: of training; speed-up: against the teacher, "
        f"measured once per shape with the {ladder.timed} student of seed {ladder.seeds[0]}, all "
        f"in one run; {ladder.settings}{own}"
    )


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    shown = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        shown.add_column(column, justify="left" if column in _NAMES else "right", no_wrap=True)
    for row in rows:
        shown.add_row(*row)
    return shown


def _markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _line(rung: str, points: Sequence[BandPoint], against: str) -> Line:
    updates, seconds, means, lows, highs = zip(*points, strict=True)
    return Line(rung, seconds if against == "seconds" else updates, means, lows, highs)


def _own(row: Row) -> str:
    return " ".join(f"{key}={value}" for key, value in row.settings.items())


def _spread(value: Spread) -> str:
    if value.deviation is None:
        return f"{value.mean:.2f}"
    return f"{value.mean:.2f} ±{value.deviation:.2f}"
