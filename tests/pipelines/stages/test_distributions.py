"""Word distributions are stored for students that learn from them, once, part by part."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.context import Run
from pipelines.stages.distributions import distributions
from pipelines.stages.everything import everything
from pipelines.stages.student import student
from wd.config import Recipe, load_recipe
from wd.errors import ConfigError
from wd.training.teacher_pass import PartDistributions

HERE = ("tracking.uri=none", "ray.workers=0", "pseudo.drop_loops=false", "pseudo.max_length=9")
TRAINING = {"updates": 2, "validate_every": 2, "warmup_updates": 1, "bleu_sentences": 0}


@pytest.fixture
def read(tmp_path: Path, write_recipe: Callable[..., Path]) -> Callable[..., Recipe]:
    """Return a function from overrides to a recipe of three parts."""
    path = write_recipe(tmp_path, training=TRAINING)
    return lambda *overrides: load_recipe(path, (*HERE, *overrides))


def planned(recipe: Recipe) -> dict[str, str]:
    with Run(recipe, dry=True, quiet=True) as run:
        everything(run)
    return {name.rpartition("-")[0]: name.rpartition("-")[2] for name in run.outlook}


def test_they_are_made_where_they_are_used(read: Callable[..., Recipe]) -> None:
    plain, unused = planned(read()), planned(read("pseudo.top_k=5"))
    assert plain == unused
    beside, stored = (
        planned(read("objective.word_kd=0.5", *more)) for more in ((), ("pseudo.top_k=5",))
    )
    words = {"distributions/small", "distributions/small-pseudo"}
    assert stored.keys() - beside.keys() == words
    students = {"generator/small-tiny", "student/small-tiny-kd", "student/small-tiny-wd"}
    changed = {name for name in beside if beside[name] != stored[name]}
    assert changed == {*students, "evaluation/small-tiny"}
    finer = planned(
        read("objective.word_kd=0.5", "pseudo.top_k=5", "pseudo.top_k_precision=float32")
    )
    assert not any(finer[name] == stored[name] for name in words)


def test_a_teacher_that_runs_all_the_same_is_refused(read: Callable[..., Recipe]) -> None:
    with pytest.raises(ConfigError, match=r"pseudo\.top_k stores .*leave one of them at 0"):
        read("objective.hidden_states=0.5", "objective.word_kd=1", "pseudo.top_k=5")


def test_a_broken_pass_goes_on_and_students_learn_from_it(
    read: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = read("objective.word_kd=0.5", "pseudo.top_k=5")
    made: list[str] = []
    compute = PartDistributions.__call__

    def counted(self: PartDistributions, part: Path, out: Path) -> dict[str, Any]:
        if len(made) == 1:
            made.append("broken")
            raise RuntimeError
        made.append(part.name)
        return compute(self, part, out)

    monkeypatch.setattr(PartDistributions, "__call__", counted)
    with Run(recipe, quiet=True) as run, pytest.raises(RuntimeError):
        distributions(run, "shards")
    with Run(recipe, quiet=True) as run:
        stored = distributions(run, "shards")
        trained = student(run, "kd")
    parts = [f"part-{index:05d}.parquet" for index in range(3)]
    assert made == [parts[0], "broken", *parts[1:], *parts]
    assert stored.metrics["bytes"] == sum(
        path.stat().st_size for path in stored.path.glob("train/part-*")
    )
    assert 0 < stored.metrics["covered"] < 1
    inputs = trained.manifest["inputs"]
    assert "teacher" not in inputs
    assert inputs["words"] == stored.name
    assert inputs["pseudo_words"].startswith("distributions/small-pseudo-")
