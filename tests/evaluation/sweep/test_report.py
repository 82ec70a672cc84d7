import html
import io
import json
import random
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from wd.config import SearchConfig
from wd.evaluation.origin import Origin
from wd.evaluation.sweep.figures import Score, Sweep, SweepTrial, ranked
from wd.evaluation.sweep.importance import importances
from wd.evaluation.sweep.report import page, scores_table, table, write_sweep


def trials() -> list[SweepTrial]:
    draw, found = random.Random(1), []
    for number in range(10):
        layers, width = draw.choice([1, 2, 3]), draw.choice([64, 128])
        given = number < 2
        bleu = 20 + 3 * layers + width / 32 + draw.random()
        stopped = number == 7
        found.append(
            SweepTrial(
                key=f"key{number:05}",
                name=("tiny", "small")[number] if given else f"key{number:05} dec {layers}x{width}",
                status="stopped" if stopped else "finished",
                reason="others were better at update 10" if stopped else "",
                is_given=given,
                overrides={"student": "small"} if number == 1 else {"students.t.layers": layers},
                values={"students.t.layers": layers, "students.t.d_model": width},
                metrics={
                    "bleu": bleu,
                    "chrf": 2 * bleu,
                    "parameters": 1e5 * layers * width,
                    "megabytes": 0.4 * layers * width,
                    "speed_up": 4 / layers + 64 / width,
                    "milliseconds": 2.0 * layers,
                    "sentences_per_second": 300 / layers,
                },
                curve=((10, bleu / 2), (20, bleu)),
                command=f"wd run r <{number}>",
            )
        )
    found.append(
        SweepTrial(
            key="refused",
            name="huge",
            status="refused",
            reason="search.max_parameters 10",
            overrides={},
            metrics={"parameters": 1e9},
            command="wd run r",
        )
    )
    return found


@pytest.fixture
def sweep() -> Sweep:
    config = SearchConfig(min_speed_up=1.0)
    found = ranked(trials(), config)
    done = [one for one in found if one.status == "finished"]
    return Sweep(
        title="r: 11 students over student_shape",
        origin=Origin(
            command="wd sweep r --max-trials 10",
            commit="abc",
            date="2026-01-01",
            machine="here, 2 CPUs",
        ),
        updates=20,
        objectives=config.objectives,
        ranked_by=config.ranked_by,
        limits={"min_speed_up": 1.0},
        teacher={"parameters": 1e8, "megabytes": 400.0, "sentences_per_second": 100.0},
        trials=tuple(found),
        importances={
            name: importances([one.values for one in done], [one.metrics[name] for one in done])
            for name in config.objectives
        },
        scores=(
            Score(name="teacher", bleu=30.0, chrf=60.0, speed_up=1.0, p_value=0.2, signature="s"),
            Score(name="winner", bleu=29.0, chrf=59.0, speed_up=2.0, p_value=None, signature="s"),
        ),
    )


class Reader(HTMLParser):
    """Collects the texts below every element with an id, and checks that all are closed."""

    VOID = ("meta", "link", "br", "hr", "img", "path", "use", "rect")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, str | None]] = []
        self.texts: dict[str, list[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append((tag, dict(attrs).get("id")))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for _, name in self.open:
            if name and data.strip():
                self.texts.setdefault(name, []).append(data.strip())


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


def test_the_page_shows_front_curves_importances_and_commands(sweep: Sweep) -> None:
    texts = read(page(sweep)).texts
    assert {"tiny", "small", "speed-up over the teacher", "validation BLEU"} <= set(texts["front"])
    assert {"layers", "d_model"} <= set(texts["parallel"])
    assert {"layers", "d_model"} <= set(texts["importances"])
    assert "update (both phases)" in texts["curves"]
    assert sweep.best is not None
    assert texts["winner"] == [sweep.best.command]
    names = texts["trials"]
    assert all(one.name in names for one in sweep.trials)
    assert {f"wd run r <{number}>" for number in range(10)} <= set(texts["commands"])
    assert any("search.max_parameters 10" in line for line in texts["commands"])
    assert re.search("abc.*2026-01-01.*here, 2 CPUs", page(sweep), re.DOTALL)


def test_the_page_needs_nothing_from_elsewhere(sweep: Sweep) -> None:
    shown = page(sweep)
    assert "<script" not in shown
    assert not re.findall(r"""(?:src|href)=["'](?!#)[^"']+""", shown)


def test_pages_of_little_are_whole(sweep: Sweep) -> None:
    lone = sweep.model_copy(update={"trials": sweep.trials[:1], "importances": {}, "scores": ()})
    assert "winner" in read(page(lone)).texts
    broken = sweep.trials[0].model_copy(update={"within_limits": False, "values": {}, "curve": ()})
    none = lone.model_copy(update={"trials": (broken,)})
    assert "No winner" in page(none)


def test_files_are_read_again(sweep: Sweep, tmp_path: Path) -> None:
    write_sweep(sweep, tmp_path)
    assert Sweep.model_validate_json((tmp_path / "report.json").read_text()) == sweep
    assert json.loads((tmp_path / "report.json").read_text())["origin"]["commit"] == "abc"
    assert (tmp_path / "front.svg").read_text().startswith("<svg")


def test_the_tables_name_everybody_and_why(sweep: Sweep) -> None:
    out = io.StringIO()
    console = Console(file=out, width=120)
    console.print(table(sweep))
    console.print(scores_table(sweep))
    shown = " ".join(out.getvalue().split())
    assert "search.max_parameters" in shown
    assert "tiny" in shown
    assert "29.00" in shown


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_browser_draws_it_without_cutting_anything_off(sweep: Sweep, tmp_path: Path) -> None:
    write_sweep(sweep, tmp_path)
    look = """<script>document.title = JSON.stringify({
      wide: document.documentElement.scrollWidth <= window.innerWidth,
      hidden: [...document.querySelectorAll(".scroll")]
        .filter(each => each.scrollWidth > each.clientWidth + 1).map(each => each.innerText),
      figures: [...document.querySelectorAll("figure svg")].map(each => ({
        width: each.getBoundingClientRect().width,
        height: each.getBoundingClientRect().height})),
      circles: document.querySelectorAll("#front path").length,
    })</script></body>"""
    looked = tmp_path / "looked.html"
    shown = (tmp_path / "report.html").read_text(encoding="utf-8")
    looked.write_text(shown.replace("</body>", look), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1100,900"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [CHROMIUM, *options, profile, "--dump-dom", looked.as_uri()]
    drawn = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)  # type: ignore[arg-type]
    title = re.search(r"<title>(\{.*?)</title>", drawn.stdout)
    assert title, drawn.stderr
    seen = json.loads(html.unescape(title[1]))
    assert seen["wide"]
    assert seen["hidden"] == []
    assert len(seen["figures"]) == 4
    assert all(one["width"] > 400 and one["height"] > 100 for one in seen["figures"])
    assert seen["circles"] > 10
