"""Every shipped recipe loads, and the published ones have the published compressions."""

from pathlib import Path

import pytest

from pipelines.commands.recipe_arguments import read_recipe, shipped_recipes
from wd.config import load_recipe
from wd.model.sizes import count_parameters

PUBLISHED = {
    "wmt16-enro-base": {"tiny": 0.54, "small": 0.79},
    "nist12-zhen-base": {"tiny": 0.58, "small": 0.83},
    "wmt14-ende-base": {"tiny": 0.57, "small": 0.83},
    "wmt14-ende-big": {"tiny": 0.53, "small": 0.76},
    "wmt14-ende-deep": {"tiny": 0.81, "small": 0.92},
}


@pytest.mark.parametrize("name", shipped_recipes())
def test_it_loads_under_its_own_name(name: str) -> None:
    recipe = read_recipe(name)
    assert recipe.name == name
    assert recipe.students.keys() >= {"tiny", "small"}
    assert recipe.corpus.packages or recipe.corpus.hint


@pytest.mark.parametrize(
    ("name", "student", "published"),
    [(name, *row) for name, rows in PUBLISHED.items() for row in rows.items()],
)
def test_published_compression(name: str, student: str, published: float) -> None:
    recipe = read_recipe(name, [f"student={student}"])
    compression = count_parameters(recipe.student_model) / count_parameters(recipe.teacher_model)
    assert compression == pytest.approx(published, abs=0.015)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_hint_names_every_file(name: str) -> None:
    recipe = read_recipe(name)
    for file in (*recipe.corpus.train, *recipe.corpus.valid, *recipe.corpus.test):
        assert file.removesuffix("{lang}") in recipe.corpus.hint


def test_a_section_that_says_one_thing_keeps_its_phase_s_defaults(tmp_path: Path) -> None:
    path = tmp_path / "partial.yaml"
    path.write_text(
        "name: x\nsource_language: en\ntarget_language: de\ncorpus: {train: ['t.{lang}']}\n"
        "teacher: {training: {batches_per_update: 2}}\nfine_tuning: {batches_per_update: 2}\n"
    )
    recipe = load_recipe(path)
    assert recipe.teacher.training.updates == 100_000
    assert recipe.fine_tuning.warmup_updates == 1000
    assert recipe.generator.training.warmup_updates == 4000
