"""How what is said looks: on a terminal, in a log, as JSON, and from another process."""

import io
import json
import logging
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from rich.console import Console

from wd.logs import MARK, Voice, facts, hear, work_of, working_on
from wd.logs.formats import Json, Line
from wd.logs.setup import use
from wd.logs.terminal import Terminal
from wd.logs.wire import _Wire

ROOT = Path(__file__).parents[1]
LOG = logging.getLogger("wd.test")
STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
PROGRESS = {"done": 5, "of": 8, "unit": "updates", "loss": 1.5, "seconds_left": 61.2}


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **environment},
    )


SAY = """
import logging, warnings
from wd.logs import configure, facts, working_on
configure()
with working_on(run="r1", stage="teacher", artifact="teacher/a-1"):
    logging.getLogger("wd.x").info("update %d of 8", 5, extra=facts(progress={"done": 5}))
    logging.getLogger("wd.x").debug("not shown")
    logging.getLogger("other").info("not shown")
    logging.getLogger("other").warning("a library's")
    warnings.warn("ours")
raise RuntimeError("a bug")
"""


def test_a_log_s_lines_have_their_time() -> None:
    lines = python(SAY).stderr.splitlines()
    assert [re.sub(f"^{STAMP} ", "| ", line) for line in lines[:3]] == [
        "| update 5 of 8",
        "| warning: other: a library's",
        "| warning: ours",
    ]
    assert lines[-1] == "RuntimeError: a bug"


def test_every_line_of_a_json_log_is_an_object() -> None:
    done = python(SAY, WD_LOG="json")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["message"] for line in lines] == [
        "update 5 of 8",
        "a library's",
        "ours",
        "RuntimeError: a bug",
    ]
    work = {"run": "r1", "stage": "teacher", "artifact": "teacher/a-1"}
    assert lines[0].items() >= {**work, "level": "info", "progress": {"done": 5}}.items()
    assert lines[2].items() >= {**work, "level": "warning"}.items()
    assert all(re.match(r"\d{4}-\d\d-\d\dT.*\+00:00$", line["time"]) for line in lines)
    assert lines[3]["traceback"].startswith("Traceback (most recent call last):")
    assert done.stdout == ""


@pytest.mark.parametrize("way", [["--log", "json"], []])
def test_a_command_s_error_is_an_object_too(way: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", "run", "quickstart", "qqq=1", *way],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    told = json.loads(line) if way else {"message": line.partition("error: ")[2]}
    assert told["message"].startswith("recipe quickstart: unknown key qqq")


def test_another_form_is_refused() -> None:
    done = python("from pipelines.commands.cli import main; main('keys')", WD_LOG="yaml")
    assert done.returncode == 2
    assert "WD_LOG=yaml: it can be text or json" in done.stderr
    assert "Traceback" not in done.stderr


def record(level: int, message: str, **known: object) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"name": "wd.x", "levelno": level, "levelname": logging.getLevelName(level), "msg": message}
    )
    made.facts = known
    return made


def test_a_terminal_has_a_bar_for_what_this_process_makes_and_lines_for_the_rest() -> None:
    out = io.StringIO()
    terminal = Terminal(Console(file=out, force_terminal=True, width=120, color_system=None))
    with working_on(artifact="teacher/a-1"):
        terminal.emit(record(logging.INFO, "making  teacher/a-1"))
        terminal.emit(record(logging.DEBUG, "teacher: update 5", progress=PROGRESS))
        other = record(logging.INFO, "student: update 3 of 9", progress=PROGRESS)
        other.work = {"artifact": "student/b-2"}
        terminal.emit(other)
        terminal.emit(record(logging.DEBUG, "teacher: update 6", progress=PROGRESS | {"done": 6}))
    terminal.emit(record(logging.WARNING, "[brackets] stay"))
    terminal.close()
    shown = out.getvalue()
    assert re.search(r"teacher .*5/8 updates, loss 1.500, 0:01:01 left", shown)
    assert "6/8" in shown
    for line in ("making  teacher/a-1", "student: update 3 of 9", "warning: [brackets] stay"):
        assert line in shown
    assert "teacher: update" not in shown
    assert not re.search(STAMP, shown)
    assert shown.endswith("warning: [brackets] stay\n")


def test_what_a_worker_says_is_said_here(caplog: pytest.LogCaptureFixture) -> None:
    with working_on(run="r", stage="teacher", artifact="teacher/a-1"):
        try:
            raise ValueError("worker's")
        except ValueError as error:
            held = LOG.makeRecord(
                LOG.name, logging.ERROR, "", 0, "100 %% of %s", ("it",), (type(error), error, None)
            )
        held.facts = {"progress": PROGRESS}
        line = _Wire().format(held)
    assert "\n" not in line
    assert hear(line)
    (heard,) = caplog.records
    assert work_of(heard) == {"run": "r", "stage": "teacher", "artifact": "teacher/a-1"}
    assert "ValueError: worker's" in Line(stamped=True).format(heard)
    told = json.loads(Json().format(heard))
    assert told["message"] == "100 % of it"
    assert told["progress"] == PROGRESS
    assert heard.created == held.created


@pytest.mark.parametrize("line", ["plain", MARK, f"{MARK}[1]", f"{MARK}{{", f'{MARK}{{"name": 1}}'])
def test_what_is_no_record_is_not_taken_for_one(line: str) -> None:
    assert not hear(line)


def test_a_worker_speaks_as_it_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    before = Voice.here()
    try:
        Voice({"artifact": "teacher/a-1"}, heard=True, form="text").adopt()
        LOG.debug("quiet", extra=facts(progress=PROGRESS))
        warnings.formatwarning("a warning", UserWarning, "file", 1)
    finally:
        before.adopt()
        use(logging.NullHandler())
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line.removeprefix(MARK))["work"] == {"artifact": "teacher/a-1"}
