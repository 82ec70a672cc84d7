"""A sweep's report: as JSON, as a table on the terminal and as a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from wd.evaluation.page import render
from wd.evaluation.significance import shown_p_value
from wd.evaluation.sweep.figures import Sweep, SweepTrial
from wd.evaluation.sweep.plots import (
    curves_svg,
    front_svg,
    importances_svg,
    parallel_svg,
    short,
)

FILES = ("report.html", "report.json", "front.svg")
_COLUMNS = {
    "bleu": ("BLEU", "{:.2f}"),
    "chrf": ("chrF", "{:.2f}"),
    "parameters": ("params", "{:,.0f}"),
    "megabytes": ("MB", "{:.2f}"),
    "speed_up": ("speed-up", "{:.2f}"),
    "sentences_per_second": ("sent/s", "{:.1f}"),
    "milliseconds": ("ms", "{:.2f}"),
}
_TERMINAL = ("bleu", "chrf", "megabytes", "speed_up", "milliseconds")


def varied_keys(trials: Sequence[SweepTrial]) -> dict[str, str]:
    """Return each override's key that differs between trials, and its short name."""
    points = [trial.overrides for trial in trials]
    keys = list(dict.fromkeys(key for point in points for key in point))
    unlike = [key for key in keys if len({str(point.get(key)) for point in points}) > 1]
    return {key: short(key, unlike) for key in unlike}


def table(sweep: Sweep) -> Table:
    """Return the terminal's table: the winner first, what never varies left out."""
    caption = f"ranked by {sweep.ranked_by}; * is on the front; speed with untrained weights"
    shown = Table(title=sweep.title, caption=caption, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("trial", "status", *(_COLUMNS[name][0] for name in _TERMINAL), "front"):
        left = column in ("trial", "status")
        shown.add_column(column, justify="left" if left else "right", no_wrap=not left)
    for trial in sweep.trials:
        status = trial.status + (f": {trial.reason}" if trial.reason else "")
        cells = (_cell(trial, name) for name in _TERMINAL)
        shown.add_row(trial.name, status, *cells, "*" if trial.on_front else "")
    return shown


def scores_table(sweep: Sweep) -> Table:
    """Return the test scores as a table for the terminal."""
    shown = Table(title="on the test set", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("system", "BLEU", "chrF", "p", "speed-up"):
        shown.add_column(column, justify="left" if column == "system" else "right", no_wrap=True)
    for row in _scores(sweep):
        shown.add_row(*row)
    return shown


def page(sweep: Sweep) -> str:
    """Return the self-contained HTML page."""
    names = varied_keys(sweep.trials)
    done = [one for one in sweep.trials if one.status == "finished"]
    rows = [
        {
            "trial": trial,
            "figures": [_cell(trial, name) for name in _COLUMNS],
            "overrides": ", ".join(
                f"{name} {_text(trial.overrides[key])}"
                for key, name in names.items()
                if key in trial.overrides
            ),
        }
        for trial in sweep.trials
    ]
    return render(
        "sweep.html",
        heading=sweep.title,
        sweep=sweep,
        columns=[title for title, _ in _COLUMNS.values()],
        rows=rows,
        scores=_scores(sweep),
        front=front_svg(sweep) if done else "",
        parallel=parallel_svg(sweep) if any(one.values for one in done) else "",
        importances=importances_svg(sweep) if any(sweep.importances.values()) else "",
        curves=curves_svg(sweep),
        origin=sweep.origin,
    )


def write_sweep(sweep: Sweep, folder: Path) -> None:
    """Write `report.html`, `report.json` and `front.svg`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(sweep.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(page(sweep), encoding="utf-8")
    (folder / "front.svg").write_text(front_svg(sweep), encoding="utf-8")


def _scores(sweep: Sweep) -> list[tuple[str, ...]]:
    return [
        (
            one.name,
            f"{one.bleu:.2f}",
            f"{one.chrf:.2f}",
            shown_p_value(one.p_value),
            f"{one.speed_up:.2f}",
        )
        for one in sweep.scores
    ]


def _cell(trial: SweepTrial, name: str) -> str:
    value = trial.metrics.get(name)
    return "–" if value is None else _COLUMNS[name][1].format(value)


def _text(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)
