"""What a checkpoint brings back where only a part of a module is trained."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.device import World
from wd.config import GeneratorConfig, GroupingConfig
from wd.model.directory import load_weights
from wd.training.checkpoint import OPTIMIZER, WEIGHTS, CheckpointFolder, Progress
from wd.training.job import TrainingJob, result_of
from wd.training.run import make_trainee, run_job


def half_frozen() -> nn.Module:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    module[0].requires_grad_(False)
    return module


def go_on(module: nn.Module, updates: int, folder: CheckpointFolder) -> None:
    """Train some updates on from the newest checkpoint, and write one."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.1)
    progress = folder.restore(module, optimizer)
    for number in range(progress.update, progress.update + updates):
        optimizer.zero_grad()
        module(torch.full((2, 3), 1.0 + number)).square().sum().backward()
        optimizer.step()
    progress.update += updates
    folder.save(progress, module, optimizer)
    folder.wait()


def test_frozen_parameters_have_no_moments(tmp_path: Path) -> None:
    broken, whole = CheckpointFolder(tmp_path / "broken"), CheckpointFolder(tmp_path / "one")
    go_on(half_frozen(), 2, broken)
    resumed, unbroken = half_frozen(), half_frozen()
    go_on(resumed, 2, broken)
    go_on(unbroken, 4, whole)
    for one, other in zip(resumed.parameters(), unbroken.parameters(), strict=True):
        assert torch.equal(one, other)
    moments = load_weights(tmp_path / "broken" / "update-00000004" / OPTIMIZER)
    assert {name.split("/")[1] for name in moments} == {"1.weight", "1.bias"}


def test_a_damaged_checkpoint_is_left_out_of_averages(tmp_path: Path) -> None:
    folder, module = CheckpointFolder(tmp_path), half_frozen()
    for _ in range(3):
        go_on(module, 1, folder)
    damaged, sound = sorted(tmp_path.glob("update-*"))
    path = damaged / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.warns(UserWarning, match="left out of an average"):
        (found,) = folder.weights([2, 3])
    torch.testing.assert_close(found, dict(module.state_dict()))
    assert sound.name.endswith("3")


def test_a_run_that_starts_anew_beside_older_checkpoints_keeps_its_own(tmp_path: Path) -> None:
    """Weights that an average wanted stay when the two newest turn out damaged."""
    module, optimizer = half_frozen(), torch.optim.AdamW(half_frozen().parameters())
    old = CheckpointFolder(tmp_path)
    for update in (2, 3, 4, 5):
        old.save(Progress(update), module, optimizer, keep=[2, 3])
    old.wait()
    for update in (4, 5):
        (tmp_path / f"update-{update:08}" / WEIGHTS).write_bytes(b"x")
    new = CheckpointFolder(tmp_path)
    with (
        pytest.warns(UserWarning, match=r"damaged checkpoint.*4/weights\.safetensors.*checksum"),
        pytest.warns(UserWarning, match=r"damaged checkpoint.*5/weights\.safetensors.*checksum"),
        pytest.warns(UserWarning, match="no whole checkpoint is left; starting anew"),
    ):
        assert new.restore(module, optimizer).update == 0
    new.save(Progress(1), module, optimizer)
    new.wait()
    assert new.restore(module, optimizer).update == 1


@pytest.mark.parametrize("learned", [(), ("output",)])
def test_maps_that_are_not_learned_stay_as_they_start(
    job: Callable[..., TrainingJob], learned: tuple[str, ...]
) -> None:
    config = GeneratorConfig(grouping=GroupingConfig(learned_maps=learned))
    task = replace(job("one", "generator", updates=8), generator=config)
    start = make_trainee(task, World())
    trained = {id(one) for group in start.optimizer.param_groups for one in group["params"]}
    frozen = {n: p for n, p in start.module.named_parameters() if id(p) not in trained}
    assert 0 < len(frozen) < len(trained)
    run_job(task, World(), lambda _: None)
    for name, parameter in frozen.items():
        assert not parameter.requires_grad
        assert torch.equal(result_of(task).module[name], parameter)


def test_a_resumed_run_of_some_maps_equals_an_unbroken_one(job: Callable[..., TrainingJob]) -> None:
    config = GeneratorConfig(grouping=GroupingConfig(learned_maps=("output",)))
    broken = replace(job("broken", "generator"), generator=config)
    whole = replace(broken, scratch=broken.scratch.with_name("whole"))
    for task in (broken, whole):
        run_job(task, World(), lambda _: None)
    for folder in ("result", "checkpoints/update-00000012"):
        shutil.rmtree(broken.scratch / folder)
    run_job(broken, World(), lambda _: None)
    one, other = result_of(broken).module, result_of(whole).module
    assert all(torch.equal(one[name], other[name]) for name in one)
