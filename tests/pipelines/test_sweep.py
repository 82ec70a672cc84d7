import io

import pytest
from rich.console import Console

from pipelines.sweep import _with_updates, sweep, table
from wd.config import Recipe, TrainingConfig, overridden
from wd.errors import ConfigError

RECIPE = Recipe(
    name="r",
    source_language="en",
    target_language="de",
    fine_tuning=TrainingConfig(updates=1000, warmup_updates=100, validate_every=50),
)


def test_fewer_updates_scale_warm_up_and_validation_along() -> None:
    short = _with_updates(RECIPE, 100)
    told = short.fine_tuning
    assert (told.updates, told.warmup_updates, told.validate_every) == (100, 10, 5)
    assert short.generator.training.updates == 100
    assert told.learning_rate == RECIPE.fine_tuning.learning_rate
    assert _with_updates(RECIPE, 3).fine_tuning.validate_every == 1
    assert _with_updates(RECIPE, None) == RECIPE


@pytest.mark.parametrize(
    ("changes", "spaces", "message"),
    [
        ({"fine_tuning.bleu_sentences": 0}, ["student_shape"], "bleu_sentences"),
        ({}, ["student_shap"], "did you mean student_shape"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_any_work(
    tmp_path, changes: dict[str, int], spaces: list[str], message: str
) -> None:
    root = tmp_path / "root"
    recipe = overridden(RECIPE, {"root": str(root), **changes})
    with pytest.raises(ConfigError, match=message):
        sweep(recipe, spaces, trials=2)
    assert not root.exists()


def test_the_table_names_only_what_varies() -> None:
    def trial(key: str, status: str, overrides: dict, metrics: dict) -> dict:
        return {"key": key, "status": status, "overrides": overrides, "metrics": metrics}

    same = {"generator.grouping.sharing": "class"}
    trials = [
        trial(
            "aaaaaaaa",
            "finished",
            {**same, "generator.training.dropout": 0.1, "fine_tuning.dropout": 0.25, "x.layers": 2},
            {"bleu": 12.345, "compression": 0.5},
        ),
        trial(
            "bbbbbbbb",
            "failed",
            {**same, "generator.training.dropout": 0.2, "fine_tuning.dropout": 0.5, "x.layers": 1},
            {},
        ),
    ]
    out = io.StringIO()
    Console(file=out, width=110).print(table({"trials": trials, "best": trials[0]}))
    shown = out.getvalue()
    assert "12.35" in shown
    assert "training.dropout 0.1, fine_tuning.dropout 0.25, layers 2" in shown
    assert "sharing" not in shown
