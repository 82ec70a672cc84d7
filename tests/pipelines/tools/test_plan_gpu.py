"""What a plan for a card must say."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.commands.cli import app
from pipelines.commands.recipe_arguments import read_recipe
from pipelines.tools.gpus import gpu
from pipelines.tools.plan import plan
from pipelines.tools.plan_gpu import CARDS, plan_gpu
from wd.config import Recipe, overridden
from wd.errors import ConfigError

H100 = gpu("h100")
PUBLISHED = 32_768
"""Target pieces in an update of the paper."""


def recipe(name: str = "wmt14-ende-big", **changes: object) -> Recipe:
    return overridden(read_recipe(name), {key.replace("__", "."): v for key, v in changes.items()})


@pytest.mark.parametrize("name", ["wmt14-ende-base", "wmt14-ende-big", "wmt14-ende-deep"])
@pytest.mark.parametrize("card", ["h100", "a100-40", "rtx-3090"])
def test_settings_fit_and_leave_the_update(name: str, card: str) -> None:
    settings = plan_gpu(recipe(name), gpu(card))["settings"]
    assert [each["ray.workers"] for each in settings] == list(CARDS)
    for each in settings:
        batches, size = each["batches_per_update"], each["shards.batch_tokens"]
        assert batches * size == PUBLISHED
        assert batches % each["ray.workers"] == 0
        changes = {
            f"{section}.batches_per_update": batches
            for section in ("teacher.training", "generator.training", "fine_tuning")
        }
        chosen = overridden(recipe(name), {"shards.batch_tokens": size, **changes})
        stages = plan_gpu(chosen, gpu(card))["stages"].values()
        assert all(stage["ddp"]["fits"] for stage in stages)
        assert all(stage["pieces_per_update"] == PUBLISHED for stage in stages)


def test_the_page_s_settings_fit_what_it_says() -> None:
    page = (Path(__file__).parents[3] / "docs" / "gpu.md").read_text("utf-8")
    rows = re.findall(r"^\| \d+ \| (\d+) \| (\d+) \| (\d+) \| (.+) \| (.+) \|$", page, re.MULTILINE)
    assert len(rows) >= 4
    for workers, size, batches, *fitting in rows:
        assert int(size) * int(batches) == PUBLISHED
        assert int(batches) % int(workers) == 0
        for card, told in zip(("h100", "rtx-4090"), fitting, strict=True):
            for name in ("base", "big", "deep"):
                stages = plan_gpu(recipe(f"wmt14-ende-{name}"), gpu(card))["stages"].values()
                fits = all(int(size) <= each["ddp"]["largest_batch_tokens"] for each in stages)
                assert fits == (name in told.split(", ")), (card, name, size)


def test_what_is_too_large_does_not_fit() -> None:
    stage = plan_gpu(recipe(), H100)["stages"]["teacher"]["ddp"]
    most = stage["largest_batch_tokens"]
    for size, fits in ((most, True), (most + 1, False)):
        stages = plan_gpu(recipe(shards__batch_tokens=size), H100)["stages"]
        assert stages["teacher"]["ddp"]["fits"] == fits
    assert plan_gpu(recipe(), gpu("l4"))["stages"]["teacher"]["ddp"]["largest_batch_tokens"] < most


def test_sharing_out_leaves_each_card_less_but_not_of_a_generator() -> None:
    planned = plan_gpu(recipe(objective__word_kd=0.5, ray__workers=8), H100)["stages"]
    alone = plan_gpu(recipe(ray__workers=8), H100)["stages"]
    for name in ("teacher", "student"):
        ddp, sharded = planned[name]["ddp"], planned[name]["sharded"]
        assert sharded["gb"]["adam"] == pytest.approx(ddp["gb"]["adam"] / 8, abs=0.01)
        assert sharded["total_gb"] < ddp["total_gb"]
    ddp, sharded = planned["generator"]["ddp"], planned["generator"]["sharded"]
    assert ddp["gb"]["adam"] == sharded["gb"]["adam"]
    assert sharded["gb"]["teacher beside it"] < ddp["gb"]["teacher beside it"]
    assert "teacher beside it" not in alone["generator"]["ddp"]["gb"]
    assert planned["student"]["hours"]["1"] > alone["student"]["hours"]["1"]


@pytest.mark.parametrize("word_kd", [0.0, 0.5])
def test_hours_are_those_of_the_plan(word_kd: float) -> None:
    settings = recipe(objective__word_kd=word_kd)
    hours = plan_gpu(settings, H100, mfu=0.5)["stages"]
    planned = plan(settings, tflops=0.5 * H100.tflops)["training"]
    for name, stage in hours.items():
        assert stage["hours"]["1"] == planned[name]["hours"]
        assert stage["hours"]["1"] == pytest.approx(64 * stage["hours"]["64"], abs=0.7)


def test_a_moving_average_takes_another_copy() -> None:
    averaged = plan_gpu(recipe(teacher__training__ema_decay=0.9), H100)["stages"]["teacher"]["ddp"]
    assert averaged["gb"]["moving_average"] == averaged["gb"]["weights"]


def test_an_unknown_card_is_told() -> None:
    with pytest.raises(ConfigError, match="did you mean h100"):
        gpu("h10")


def test_the_command_tells_how_it_knows() -> None:
    told = CliRunner().invoke(app, ["plan", "wmt14-ende-big", "--gpu", "h100"]).output
    for part in ("assumed, not measured", "NVIDIA H100 data sheet", "32,768", "counted"):
        assert part in told
    printed = CliRunner().invoke(
        app, ["plan", "wmt14-ende-big", "--gpu", "H100", "--mfu", "0.5", "--json"]
    )
    assert json.loads(printed.output)["gpu"]["mfu"] == 0.5
    assert "gpu" not in json.loads(
        CliRunner().invoke(app, ["plan", "wmt14-ende-big", "--json"]).output
    )
