"""The ladder: what it refuses, what it makes, and that a second call makes nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipelines.commands import cli
from pipelines.studies.rungs import Place, Rung, places_of, rungs_of
from wd.config import GeneratorConfig, Recipe, overridden
from wd.errors import ConfigError

STUDENTS = {
    "tiny": {"decoder": {"layers": 1, "d_model": 16, "feed_forward": 32}},
    "small": {"decoder": {"layers": 1}},
}
TINY = ("--student", "tiny", "--method", "wd", "--start", "xavier")


def wd_ladder(recipe: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["ladder", str(recipe), *arguments])


@pytest.fixture
def recipe(tmp_path: Path, write_recipe: Callable[..., Path]) -> Path:
    return write_recipe(tmp_path, students=STUDENTS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--student", "tinny"],
            "--student tinny; did you mean tiny? It can be small, tiny",
        ),
        (["--method", "kt"], "unknown --method kt: it can be scratch, kd, copy, wd"),
        (["--start", "referense"], "unknown --start referense; did you mean reference?"),
        (["fine_tuning.bleu_sentences=6"], "fine_tuning.bleu_sentences is 6"),
        (
            ["--set", "kt:fine_tuning.dropout=0.2"],
            "unknown --set kt: it can be scratch, kd, copy, wd",
        ),
        (["--set", "tinny/kd:fine_tuning.dropout=0.2"], "--set tinny; did you mean tiny?"),
        (["--set", "kd"], "--set kd: it is RUNG:KEY=VALUE"),
        (["--set", "kd:teacher.training.updates=3"], "a key of fine_tuning, generator, objective"),
        (["--set", "wd:fine_tuning.seed=7"], "the ladder sets that itself, for seeds and rungs"),
        (["--set", "kd:fine_tuning.dropout"], "fine_tuning.dropout"),
        (["--set", "kd:fine_tuning.dropuot=0"], "dropuot"),
        (
            ["--set", "small/kd:fine_tuning.updates=9"],
            "--set for small/kd: 17 updates of both phases, but a ladder gives 16 to every student",
        ),
        (["via=[small]", "student=tiny"], "a ladder's students have one teacher"),
        (["generator.training.early_stopping=3"], "phase 1 has a fixed length in a ladder"),
        (["student=huge"], "huge is not defined"),
        (["generator.grouping.decoder_subsets=[1, 5]"], "decoder_subsets: [1, 5]"),
        (
            ["--method", "kd", "objective.hidden_states=1", "students.small.decoder.layers=3"],
            "a student of 3 layers cannot be generated",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_before_any_work(
    recipe: Path, arguments: list[str], message: str
) -> None:
    result = wd_ladder(recipe, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""
    assert not (recipe.parent / "root").exists()


def test_no_seeds_is_wrong_usage(recipe: Path) -> None:
    result = wd_ladder(recipe, "--seeds", "0")
    assert result.exit_code == 2
    assert "--seeds" in result.stderr
    assert not (recipe.parent / "root").exists()


def test_kd_is_always_a_rung_and_starts_are_rungs_of_their_own() -> None:
    def names(*given: list[str]) -> list[str]:
        return [rung.name for rung in rungs_of(*given)]

    assert names([], []) == ["scratch", "kd", "copy", "wd"]
    assert names(["wd"], []) == ["kd", "wd"]
    assert names(["kd"], ["svd", "reference", "svd"]) == ["kd", "wd (svd)", "wd (reference)"]
    with pytest.raises(ConfigError, match="--method"):
        rungs_of(["x"], [])


def test_a_place_s_recipe_differs_in_student_seed_and_start_only() -> None:
    base = Recipe(name="r", source_language="en", target_language="de")
    assert Place("tiny", Rung("wd"), 1).recipe(base) == base
    rung = Rung("wd", "xavier")
    for taken in ("fine_tuning.seed=7", "generator.initialisation.maps=svd"):
        with pytest.raises(ConfigError, match="the ladder sets that itself"):
            places_of(["tiny"], [rung], 1, [f"{rung.name}:{taken}"])
    (place,) = places_of(["tiny"], [rung], 1, [f"{rung.name}:fine_tuning.dropout=0.3"])
    told = place.recipe(base)
    assert (told.fine_tuning.dropout, told.fine_tuning.seed) == (0.3, 1)
    assert told.generator.initialisation.maps == "xavier"
    other = Place("small", Rung("wd", "xavier"), 3).recipe(base)
    assert (other.student, other.generator.initialisation.maps) == ("small", "xavier")
    assert other.generator.training.seed == other.fine_tuning.seed == 3
    assert other.teacher == base.teacher
    others = {"sharing": "stack", "width_maps": "mixing_axes", "learned_maps": ["layer"]}
    others |= {"norms": "copied", "embeddings": "fresh"}
    stacked = overridden(base, {f"generator.grouping.{key}": each for key, each in others.items()})
    reference = Place("tiny", Rung("wd", "reference"), 1).recipe(stacked).generator
    published = GeneratorConfig(preset="reference")
    assert (reference.grouping, reference.initialisation) == (
        published.grouping,
        published.initialisation,
    )


def test_a_dry_run_tells_each_shared_stage_once_and_touches_nothing(recipe: Path) -> None:
    result = wd_ladder(recipe, "--dry-run", "--seeds", "2", "--start", "xavier")
    assert result.exit_code == 0, result.stderr
    lines = [line.split()[-1].split("/")[0] for line in result.stderr.splitlines()]
    counts = {stage: lines.count(stage) for stage in lines}
    assert counts == {
        **{"corpus": 1, "tokenizer": 1, "shards": 2, "teacher": 1, "pseudo": 1, "ladder": 1},
        **{"generator": 2 * 2 * 2, "student": 2 * 2 * 5},
    }
    assert not (recipe.parent / "root").exists()


def test_a_setting_changes_the_students_of_its_rung_alone(recipe: Path) -> None:
    def to_do(*settings: str) -> set[str]:
        result = wd_ladder(recipe, "--dry-run", *settings)
        assert result.exit_code == 0, result.stderr
        return {line.split()[-1] for line in result.stderr.splitlines()}

    for setting, changed in (
        ("kd:fine_tuning.dropout=0.3", ["ladder", "small-kd", "tiny-kd"]),
        ("tiny/kd:fine_tuning.dropout=0.3", ["ladder", "tiny-kd"]),
        ("fine_tuning.early_stopping=1", []),  # no setting of one rung: all students change
    ):
        given = ("--set", setting) if ":" in setting else (setting,)
        new = to_do(*given) - to_do()
        students = {name.split("/")[1].split("-", 1)[1].rsplit("-", 1)[0] for name in new}
        assert len(new) == (len(changed) or 9)
        assert set(changed[1:]) <= students


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_students_of_a_ladder_may_stop_early_and_have_settings_of_their_own(recipe: Path) -> None:
    rate = "fine_tuning.learning_rate"  # at none nothing gets better, at the recipe's it does
    result = wd_ladder(
        recipe,
        *("--student", "tiny", "--method", "wd", "--json", "fine_tuning.early_stopping=1"),
        *("fine_tuning.validate_every=2", "generator.training.validate_every=2"),
        *("--set", f"wd:{rate}=1e-12", "--set", "wd:fine_tuning.initial_learning_rate=0"),
    )
    assert result.exit_code == 0, result.stderr
    folder = Path(json.loads(result.stdout)["path"])
    ladder = json.loads((folder / "ladder.json").read_text())
    kd, wd = ladder["rows"]
    assert (kd["settings"], wd["settings"][rate]) == ({}, "1e-12")
    assert wd["updates"] < 16
    assert ladder["budgets"] == [2, 4, 8, 16]
    assert kd["within"][0] is not None
    assert wd["within"][2] == wd["within"][3] or wd["updates"] > 8


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_a_ladder_is_made_once_and_its_students_are_those_of_a_run(recipe: Path) -> None:
    early = wd_ladder(recipe, *TINY, "--concurrent", "2")
    assert early.exit_code == 0, early.stderr
    assert "trained  tiny, wd (xavier), seed 1" in early.stderr

    result = wd_ladder(recipe, *TINY, "--seeds", "2", "--json")
    assert result.exit_code == 0, result.stderr
    assert "student 6 of 6: tiny, wd (xavier), seed 2" in result.stderr
    made = [line.split()[-1] for line in result.stderr.splitlines() if " making  " in line]
    assert [name.split("/")[0] for name in made] == [
        "student",
        *["generator", "student"] * 2,
        "ladder",
    ]
    told = json.loads(result.stdout)
    folder = Path(told["path"])
    ladder = json.loads((folder / "ladder.json").read_text())
    assert [row["rung"] for row in ladder["rows"]] == ["kd", "wd", "wd (xavier)"]
    assert {row["updates"] for row in ladder["rows"]} == {16}
    for student in ladder["students"]:
        assert (recipe.parent / "root" / student["artifact"] / "model.safetensors").is_file()
        assert [update for update, _ in student["curve"]] == [4, 8, 12, 16]
        text = folder / f"{student['artifact'].replace('/', '-')}.txt"
        assert len(text.read_text().splitlines()) == ladder["sentences"]
    assert len({student["artifact"] for student in ladder["students"]}) == 6
    figures = told["metrics"]["students"]["tiny"]
    assert {row["rung"]: row["bleu"]["mean"] for row in ladder["rows"]} == {
        rung: row["bleu"]["mean"] for rung, row in figures.items()
    }
    for name in ("ladder.html", "curves.svg", "seconds.svg", "pareto.svg"):
        assert "<svg" in (folder / name).read_text()
    pasted = (folder / "ladder.md").read_text()
    for row in ladder["rows"]:
        assert f"| {row['rung']} | {row['bleu']['mean']:.2f} ±" in pasted

    again = wd_ladder(recipe, *TINY, "--seeds", "2")
    assert again.exit_code == 0, again.stderr
    assert "making" not in again.stderr
    assert "tiny: " in again.stdout
    seeds = ("generator.training.seed=2", "fine_tuning.seed=2")
    same = CliRunner().invoke(cli.app, ["student", str(recipe), *seeds])
    assert "making" not in same.stderr
    assert Path(same.stdout.strip()).name in {Path(s["artifact"]).name for s in ladder["students"]}
