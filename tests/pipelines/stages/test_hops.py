"""A student on the way to a smaller one is its teacher in all: weights, translations, lineage."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.commands.promotion_target import _making
from pipelines.stages.evaluation import evaluation
from pipelines.stages.everything import everything
from pipelines.stages.hops import first_teacher, open_run, student_before
from pipelines.stages.pseudo import pseudo
from pipelines.stages.student import student
from pipelines.stages.teacher import teacher
from wd.config import Recipe, load_recipe
from wd.errors import ConfigError
from wd.evaluation.report import read_report
from wd.model.directory import load_config

STUDENTS = {
    "small": {"decoder": {"layers": 1}},
    "middle": {"decoder": {"layers": 1, "feed_forward": 24}},
    "tiny": {"decoder": {"layers": 1, "d_model": 8, "heads": 2, "feed_forward": 16}},
}


@pytest.fixture
def recipe(tmp_path: Path, write_recipe: Callable[..., Path]) -> Callable[..., Recipe]:
    path = write_recipe(
        tmp_path,
        name="hops",
        students=STUDENTS,
        ray={"workers": 0},
        tracking={"uri": "none"},
        pseudo={"beam_size": 1, "max_length": 30, "drop_loops": False},
        training={"updates": 4, "warmup_updates": 2, "validate_every": 2},
    )
    return lambda *changes: load_recipe(path, changes)


@pytest.mark.slow
def test_every_hop_learns_from_the_one_before(recipe: Callable[..., Recipe]) -> None:
    with open_run(recipe("student=small"), quiet=True) as run:
        alone = student(run, "wd")
        shared = teacher(run)
    with open_run(recipe("via=[small, middle]"), quiet=True) as run:
        everything(run)
        made, report = student(run, "wd"), read_report(evaluation(run).path)
        middle = teacher(run)
        lineage = run.lineage(made)
        assert first_teacher(run) == shared
        assert pseudo(run).manifest["inputs"]["teacher"] == middle.name
    small = run.sibling(run.recipe.hops[1]).lineage(middle)["teacher"]
    assert small == alone.name  # what a run of its own has made
    assert lineage["teacher"] == middle.name
    assert {alone.name, shared.name} <= set(lineage.values())
    assert [load_config(each.path).decoder.d_model for each in (middle, made)] == [32, 8]

    assert [row.name for row in report.rows] == ["teacher", "via small", "via middle", "KD", "WD"]
    sizes = [row.parameters for row in report.rows]
    assert sizes == sorted(sizes, reverse=True)
    assert report.rows[-1].compression == pytest.approx(sizes[-1] / sizes[0])

    again = open_run(recipe("via=[small, middle]"), dry=True, quiet=True)
    everything(again)
    assert set(again.outlook.values()) == {"exists"}
    assert _making(recipe("via=[small, middle]"), made.name).via == ("small", "middle")


def test_a_hop_changes_what_comes_after_it_and_nothing_before(
    recipe: Callable[..., Recipe],
) -> None:
    planned = {}
    for via in ("[]", "[small]", "[small, middle]"):
        run = open_run(recipe(f"via={via}"), dry=True, quiet=True)
        everything(run)
        planned[via] = set(run.outlook)
    for first, last in (("[]", "[small]"), ("[small]", "[small, middle]")):
        kept = {name.partition("/")[0] for name in planned[first] & planned[last]}
        assert {"corpus", "tokenizer", "teacher"} <= kept
        assert not kept & {"evaluation", "registry"}
    hop = open_run(recipe("via=[small]"), dry=True, quiet=True)
    assert student_before(hop).name in planned["[small, middle]"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("via=[big]", "via: big is not defined; the recipe has middle, small, tiny"),
        ("via=[tiny]", "via: tiny is on the way twice, or is the student itself"),
        ("via=[small, small]", "via: small is on the way twice"),
        ("via=small", "via: must be a list"),
    ],
)
def test_a_way_that_leads_nowhere_is_refused(
    recipe: Callable[..., Recipe], change: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe(change)


def test_a_hop_that_cannot_be_generated_is_refused_before_the_teacher(
    recipe: Callable[..., Recipe],
) -> None:
    deep = recipe("via=[small]", "students.tiny.decoder.layers=2")
    with pytest.raises(ConfigError, match=r"decoder\.layers: a student of 2 layers"):
        everything(open_run(deep, dry=True, quiet=True))
