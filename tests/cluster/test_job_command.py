"""What is read and refused before anything is sent, and what the job is told instead of paths."""

import subprocess
import sys
from pathlib import Path

import pytest

from cluster.job_command import job_command
from wd.errors import ConfigError, UserError

RECIPE = "name: mine\nsource_language: en\ntarget_language: de\nroot: {root}\n"
BUCKET = "root=s3://bucket/artifacts"


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "line",
    [
        f"run wmt14-ende-base {BUCKET} --from generator",
        f"ladder wmt14-ende-base {BUCKET} --seeds 3 --method wd --concurrent 2",
        f"sweep wmt14-ende-base --space student_shape --trials 4 {BUCKET} student=small",
        f"student wmt14-ende-base --method kd {BUCKET} --json",
        f"promote wmt14-ende-base {BUCKET} --dry-run --root s3://bucket/artifacts",
        "plan wmt14-ende-base root=/shared --gpu h100",
    ],
)
def test_a_command_is_sent_as_it_is(line: str) -> None:
    command = job_command(line.split())
    assert list(command.arguments) == line.split()
    assert command.files == ()


def test_relative_places_become_absolute(here: Path) -> None:
    command = job_command(["run", "wmt14-ende-base", "corpus.dir=text"])
    places = (f"root={here / 'artifacts'}", f"corpus.dir={here / 'text'}")
    assert command.arguments == ("run", "wmt14-ende-base", "corpus.dir=text", *places)


def test_so_do_further_teachers_that_are_folders(here: Path) -> None:
    (here / "opus").mkdir()
    setting = "pseudo.teachers=[opus, models:/other@champion]"
    command = job_command(["run", "wmt14-ende-base", BUCKET, setting])
    places = f'pseudo.teachers=["{here / "opus"}", "models:/other@champion"]'
    assert command.arguments == ("run", "wmt14-ende-base", BUCKET, setting, places)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("status", "status {here}/artifacts"),
        ("status artifacts --watch 5", "status {here}/artifacts --watch 5"),
        ("status quickstart --json", "status {here}/artifacts --json"),
        ("status s3://bucket/artifacts", "status s3://bucket/artifacts"),
        (
            "export artifacts/student/x-0123456789ab out",
            "export {here}/artifacts/student/x-0123456789ab {here}/out --root={here}/artifacts",
        ),
        (
            "serve artifacts/student/x-0123456789ab student/y-0123456789ab",
            "serve {here}/artifacts/student/x-0123456789ab student/y-0123456789ab "
            "--root={here}/artifacts",
        ),
        (
            "promote artifacts/student/x-0123456789ab",
            "promote {here}/artifacts/student/x-0123456789ab --root={here}/artifacts",
        ),
    ],
)
def test_models_and_roots_that_are_folders_here_become_absolute(
    here: Path, line: str, said: str
) -> None:
    (here / "artifacts" / "student" / "x-0123456789ab").mkdir(parents=True)
    assert list(job_command(line.split()).arguments) == said.format(here=here).split()


def test_text_that_lies_here_is_named_with_its_folder(here: Path) -> None:
    (here / "mine.yaml").write_text(
        RECIPE.format(root="s3://bucket/artifacts") + "corpus: {train: ['data/t.{lang}']}\n"
    )
    assert job_command(["run", "mine.yaml"]).arguments == ("run", "./mine.yaml")
    (here / "data").mkdir()
    (here / "data" / "t.en.gz").touch()
    places = f"corpus.dir={here}"
    assert job_command(["run", "mine.yaml"]).arguments == ("run", "./mine.yaml", places)


def test_a_home_folder_is_the_clusters(here: Path) -> None:
    command = job_command(["run", "wmt14-ende-base", "root=~/artifacts"])
    assert command.arguments == ("run", "wmt14-ende-base", "root=~/artifacts")


def test_paths_and_roots_in_options_become_absolute(here: Path) -> None:
    line = ["translate", "models:/m@champion", "-i", "./in.txt", "--output=out.txt"]
    assert job_command(line).arguments == (
        *("translate", "models:/m@champion", "-i", f"{here}/in.txt", f"--output={here}/out.txt"),
        f"--root={here}/artifacts",
    )


def test_a_root_that_is_typed_becomes_absolute_where_it_stands(here: Path) -> None:
    line = ["inspect", "student/x-0123456789ab", "--root", "mine", "--json"]
    assert job_command(line).arguments == (*line[:3], f"{here}/mine", "--json")


def test_recipes_and_spaces_of_ones_own_go_along(here: Path) -> None:
    (here / "own").mkdir()
    recipe, space = here / "own" / "mine.yaml", here / "space.yaml"
    recipe.write_text(RECIPE.format(root="s3://bucket/artifacts"))
    space.write_text("students.tiny.decoder.layers: [1, 2]\n")
    line = ["sweep", "own/mine.yaml", "--space", str(space), "--space=./space.yaml"]
    with pytest.raises(UserError, match="two files of this name"):
        job_command(line)
    command = job_command(line[:-1])
    assert command.arguments == ("sweep", "./mine.yaml", "--space", "./space.yaml")
    assert [path.resolve() for path in command.files] == [recipe, space]


def test_a_run_of_mlflows_is_promoted_without_a_recipe(here: Path) -> None:
    run = "0123456789abcdef" * 2
    assert job_command(["promote", run]).arguments == ("promote", run, f"--root={here}/artifacts")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run wmt14-ende-base teacher.shap=1", r"teacher\.shap; did you mean teacher\.shape"),
        ("run wmt15", "unknown recipe wmt15"),
        ("teacher mine.yaml", r"mine\.yaml: no such recipe file"),
    ],
)
def test_a_bad_recipe_is_refused(line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        job_command(line.split())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("wmt14-ende-base --command run", r"cluster\.submit \[OPTIONS\] run wmt14-ende-base"),
        ("sweep wmt14-ende-base --space absent.yaml", r"absent\.yaml: there is no such file"),
        ("run wmt14-ende-base root=s3://me:planted@bucket/x", "s3://bucket/x: whoever may ask"),
        ("promote wmt14-ende-base --to=http://me:planted@host", "http://host: whoever may ask"),
    ],
)
def test_what_cannot_be_sent_is_refused(line: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as told:
        job_command(line.split())
    assert "planted" not in str(told.value)


def test_a_password_in_a_recipe_is_refused(here: Path) -> None:
    (here / "mine.yaml").write_text(RECIPE.format(root="s3://me:planted@bucket/artifacts"))
    with pytest.raises(UserError, match="s3://bucket/artifacts: whoever may ask"):
        job_command(["run", "mine.yaml"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sweeep wmt14-ende-base", "No such command 'sweeep'. Did you mean 'sweep'?"),
        ("sweep wmt14-ende-base --trails 2", "No such option: --trails"),
        ("student wmt14-ende-base --method best", "Invalid value for '--method'"),
        ("run", "Missing argument 'RECIPE'"),
        ("run wmt14-ende-base --address http://127.0.0.1:1", "come before wd's command"),
        ("run wmt14-ende-base", "which cluster?"),
    ],
)
def test_submit_refuses_what_wd_refuses(line: str, message: str) -> None:
    ran = submit(*line.split())
    assert ran.returncode == 2
    assert message in ran.stderr
    assert ran.stdout == ""


def test_help_is_the_commands() -> None:
    ran = submit("sweep", "--help")
    assert ran.returncode == 0
    assert "--max-trials" in ran.stdout


def submit(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cluster.submit", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=Path(__file__).parents[2],
    )
