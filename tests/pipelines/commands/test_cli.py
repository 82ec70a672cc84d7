"""The command line as a user meets it: exit status, one message, examples, JSON."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipelines.commands import cli
from pipelines.commands.recipe_arguments import read_recipe, shipped_recipes
from pipelines.context import STAGES
from wd.model.sizes import count_parameters

COMMANDS = [
    *("run", "corpus", "tokenizer", "shards", "teacher", "pseudo", "generator", "student"),
    *("evaluate", "plan", "keys", "ladder", "sweep", "promote", "rollback", "translate", "export"),
    *("inspect", "import", "status", "gc"),
]
RECIPE = """
name: test
source_language: en
target_language: de
corpus: {train: [text.tsv], hint: Put text.tsv there.}
"""


def wd(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    (tmp_path / "text.tsv").write_text("source\ttarget\nOne line.\tEine Zeile.\n")
    return path


def test_every_command_is_there_and_gives_examples() -> None:
    listed = wd("--help").stdout
    for command in COMMANDS:
        assert f"\n  {command} " in listed
        told = wd(command, "--help")
        assert told.exit_code == 0
        assert f"  wd {command} " in told.stdout or f"| wd {command} " in told.stdout


MISLEADING = {
    "teacher.shape.encoder.layers=1000000": "layers: Input should be less than or equal to 1000",
    "tokenizer.vocabulary_size=1000000000000": "less than or equal to 1000000",
    "ray.max_failures=-5": "ray.max_failures: Input should be greater than or equal to 0",
    "fine_tuning.learning_rate=1e308": "fine_tuning.learning_rate: Input should be less than",
    "fine_tuning.updates=true": "fine_tuning.updates: Input should be a valid integer, not True",
    "fine_tuning.updates=010": "YAML reads 010 to the base 8",
    "students={tiny: {}, tiny: {}}": "the key tiny is there twice",
    "students={? {a: 1} : 1}": "a key is a word",
    "corpus.train=" + "[" * 10_000: "nested more than 30 deep",
    f"name={'x' * 300}": "name: 300 bytes are too long",
    r'name="a\0b"': "a text holds NUL",
    r'root="a\0b"': "a text holds NUL",
    "registry.alias=latest": "registry.alias: MLflow keeps latest for itself",
}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "wmt14-ende-bas"], "did you mean wmt14-ende-base?"),
        (["plan", "missing.yaml"], "missing.yaml: no such recipe file"),
        (["plan", "wmt14-ende-base", "student=huge"], "huge is not defined"),
        (["plan", "wmt14-ende-base", "studen=tiny"], "did you mean student?"),
        (["plan", "wmt14-ende-base", "student"], "write it as key=value"),
        (["plan", "wmt14-ende-base", "teacher.shape.encoder.heads=7"], "512 / 7 leaves 1"),
        (["plan", "wmt14-ende-base", "generator.grouping.norms=copied"], "cannot be copied"),
        (["plan", "qqq"], "unknown recipe qqq: it can be multi30k, "),
        (["plan", "wmt14-ende-base", "qqq=1"], "unknown key qqq: it can be name, "),
        *((["plan", "wmt14-ende-base", override], told) for override, told in MISLEADING.items()),
        (["keys", "generator.groping"], "did you mean generator.grouping?"),
        (["run", "wmt14-ende-base", "--from", "nowhere"], "the stages are corpus, tokenizer"),
        (["inspect", "missing"], "missing: neither an artifact"),
        (["translate", "missing"], "missing: neither a folder nor an artifact"),
        (["export", "missing", "out"], "missing: neither a folder nor an artifact"),
    ],
)
def test_bad_input_is_one_message_and_exit_2(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = wd(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["plan"], ["student", "quickstart", "--method", "x"], ["x"]])
def test_wrong_usage_is_exit_2(arguments: list[str]) -> None:
    result = wd(*arguments)
    assert result.exit_code == 2
    assert "Error" in result.stderr


def test_a_root_that_cannot_be_written(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "root").touch()
    result = wd("corpus", recipe, f"root={tmp_path / 'root'}", f"corpus.dir={tmp_path}")
    assert result.exit_code == 2, result.stderr
    assert str(tmp_path / "root") in result.stderr
    assert "Traceback" not in result.stderr


def test_absent_data_says_what_to_put_where(recipe: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    result = wd("corpus", recipe, f"root={tmp_path / 'root'}", f"corpus.dir={empty}")
    assert result.exit_code == 2, result.stderr
    assert "Put text.tsv there." in result.stderr
    assert "Traceback" not in result.stderr


def test_a_dry_run_says_what_is_to_do_and_touches_nothing(recipe: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    result = wd("run", recipe, "--dry-run", f"root={root}", f"corpus.dir={tmp_path}")
    assert result.exit_code == 0, result.stderr
    lines = result.stderr.splitlines()
    assert all(" to do   " in line for line in lines)
    assert [line.split()[-1].split("/")[0] for line in lines].count("student") == 2
    stages = {line.split()[-1].split("/")[0] for line in lines}
    assert stages >= set(STAGES)
    assert not root.exists()


@pytest.mark.parametrize("name", [name for name in shipped_recipes() if name != "quickstart"])
def test_a_shipped_recipe_says_what_data_it_lacks(name: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    result = wd("run", name, f"root={root}", f"corpus.dir={tmp_path / 'empty'}")
    assert result.exit_code == 2
    assert read_recipe(name).corpus.hint.strip() in result.stderr
    assert "Traceback" not in result.stderr
    assert not root.exists()


def test_a_plan_as_json() -> None:
    result = wd("plan", "wmt14-ende-base", "student=tiny", "--tflops", "100", "--json")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["compression"] == pytest.approx(
        told["student_parameters"] / told["teacher_parameters"], abs=1e-4
    )
    for run in told["training"].values():
        assert run["hours"] == pytest.approx(run["flops"] / 100e12 / 3600, abs=0.01)


def test_a_plan_as_tables() -> None:
    result = wd("plan", "wmt14-ende-base")
    assert result.exit_code == 0
    student = count_parameters(read_recipe("wmt14-ende-base").student_model)
    assert f"{student:,}" in result.stdout
    assert "hours" not in result.stdout


@pytest.mark.parametrize("way", [["pipelines", "run"], ["pipelines.run"]])
def test_a_module_is_a_command(way: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *way, "no-such-recipe"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert " error: unknown recipe no-such-recipe: it can be multi30k, " in done.stderr


def test_ctrl_c_says_how_to_go_on() -> None:
    code = (
        "import time; from pipelines.commands import cli; from pipelines.tools import plan\n"
        "def wait(*args, **kwargs): print('working', flush=True); time.sleep(60)\n"
        "plan.plan = wait\n"
        "cli.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "plan", "wmt14-ende-base", "student=small"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "again: wd plan wmt14-ende-base student=small" in told
    assert "Traceback" not in told


def test_an_import_s_json_is_one_line(model_folder: Path, tmp_path: Path) -> None:
    done = wd("import", model_folder, tmp_path / "out", "--json")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert (told["kind"], told["difference"]) == ("model directory", None)
    assert told["model"]["encoder"]["layers"] == 2
    again = wd("import", model_folder, tmp_path / "out")
    assert (again.exit_code, again.stdout) == (2, "")
    assert again.stderr.count("\n") == 1
    assert "exists already" in again.stderr
