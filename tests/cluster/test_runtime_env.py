"""What a job ships."""

from pathlib import Path

import pytest

from cluster.runtime_env import SHIPPED_LIMIT, pack
from cluster.submit import job_command
from pipelines.commands.recipe_arguments import shipped_recipes
from wd.errors import ConfigError, UserError

RECIPE = "name: mine\nsource_language: en\ntarget_language: de\nroot: {root}\n"


def test_the_shipped_folder_is_small_and_whole(tmp_path: Path) -> None:
    size = pack(tmp_path)
    assert size < SHIPPED_LIMIT <= 2_000_000
    assert size == sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert (tmp_path / "wd" / "artifacts.py").is_file()
    for recipe in shipped_recipes():
        assert (tmp_path / "pipelines" / "recipes" / f"{recipe}.yaml").is_file()
    assert not list(tmp_path.rglob("__pycache__"))


def test_too_much_is_refused_with_the_culprit(tmp_path: Path) -> None:
    culprit = tmp_path / "corpus.txt"
    culprit.write_bytes(bytes(SHIPPED_LIMIT + 1))
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"corpus\.txt"):
        pack(out, (culprit,))


def test_relative_places_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    entry, files = job_command("run", "wmt14-ende-base", ["corpus.dir=text"], "python")
    assert entry[:5] == ["python", "-m", "pipelines", "run", "wmt14-ende-base"]
    assert entry[-2:] == [f"root={tmp_path / 'artifacts'}", f"corpus.dir={tmp_path / 'text'}"]
    assert files == []


def test_a_recipe_of_ones_own_travels_along(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE.format(root="s3://bucket/artifacts"))
    entry, files = job_command("teacher", str(path), [], "python")
    assert entry == ["python", "-m", "pipelines", "teacher", "./mine.yaml"]
    assert files == [path]


def test_a_bad_recipe_is_refused_before_anything_is_shipped() -> None:
    with pytest.raises(ConfigError, match=r"teacher\.shape"):
        job_command("run", "wmt14-ende-base", ["teacher.shap=1"], "python")
