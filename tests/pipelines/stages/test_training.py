"""What the identity of a trained artifact is made of."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.context import Run
from pipelines.stages.student import student
from wd.config import load_recipe


def names(recipe: Path) -> set[str]:
    """Return the artifacts of a dry run up to the student."""
    with Run(load_recipe(recipe), dry=True) as run:
        student(run, "wd")
        return set(run.outlook)


def test_another_loop_makes_other_weights_of_all_three(
    write_recipe: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_recipe(tmp_path)
    before = names(recipe)
    monkeypatch.setattr("pipelines.stages.training.LOOP_VERSION", 1000)
    after = names(recipe)
    assert len(before) == len(after) == 8
    untrained = {name.rsplit("-", 1)[0] for name in before & after}
    assert untrained == {"corpus/small", "tokenizer/small", "shards/small"}
