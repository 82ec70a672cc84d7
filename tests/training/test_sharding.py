"""Two workers that share a model out among them train what two that each hold it whole do."""

import math
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
import torch.multiprocessing

from wd.config import ModelConfig, ObjectiveConfig, StackShape
from wd.config.training import FineTuningConfig
from wd.data.batches import Batch, ShardReader
from wd.data.schema import PAD
from wd.model.directory import save_weights
from wd.model.transformer import Transformer
from wd.training.averaging import MovingAverage
from wd.training.job import Trained, TrainingJob, result_of
from wd.training.loop import Wish
from wd.training.objective import Objective
from wd.training.run import make_trainee, run_job
from wd.training.sharding import evened, gathered, is_spread, shares
from wd.training.trainee import ModelTrainee
from wd.training.world import World

Job = Callable[..., TrainingJob]
EXACT = {"rtol": 0.0, "atol": 0.0}
CLOSE = {"rtol": 1e-3, "atol": 1e-4}
"""Sums in another order; after twelve updates of Adam."""


class KilledError(Exception):
    """Stands for whatever ends a process."""


def on_two(work: Callable[..., None], *arguments: Any) -> None:
    """Run `work(World, *arguments)` in two processes that see each other."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(_one, (port, work, arguments), nprocs=2)


def _one(rank: int, port: int, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    work(World(rank, 2), *arguments)
    torch.distributed.barrier()
    os._exit(0)  # what is tested is over; torch's threads may abort an interpreter that ends


def train_all(world: World, jobs: list[TrainingJob]) -> None:
    for job in jobs:
        run_job(job, world, lambda _: None)


def count_graphs(world: World, expected: int) -> None:
    """Train a compiled model of layers above a mebibyte on sentences of several lengths."""
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    torch.compile = partial(torch.compile, backend=backend)  # of a process of its own
    stack = StackShape(layers=3, d_model=192, heads=4, feed_forward=768)
    model = Transformer(
        ModelConfig(encoder=stack, decoder=stack, source_vocabulary=50, target_vocabulary=50)
    )
    config = FineTuningConfig(compile=True, precision="float32")
    trainee = ModelTrainee(model, config, Objective(0.1), world)
    for source, target in ((7, 9), (11, 5), (6, 13)):
        pieces = [torch.randint(4, 50, (5, length)) for length in (source, target, target)]
        trainee.backward([Batch(*pieces)], 1.0)
    assert len(graphs) == expected


def stop(world: World, job: TrainingJob) -> None:
    """Die after update 7, three after a checkpoint."""
    done = 0

    def asked() -> Wish:
        nonlocal done
        done += 1
        if done == 7:
            raise KilledError
        return "go on"

    with pytest.raises(KilledError):
        run_job(job, world, lambda _: None, asked)


def stop_then_go_on(world: World, first: TrainingJob, then: TrainingJob) -> None:
    """Let another job go on in the folder of one that died."""
    stop(world, first)
    run_job(then, world, lambda _: None)


def with_teacher(job: TrainingJob, teacher: Path) -> TrainingJob:
    """Let a teacher run beside a job's student, in both ways."""
    objective = ObjectiveConfig(word_kd=0.5, hidden_states=0.5)
    return replace(job, teacher=teacher, objective=objective)


def pair(job: Job, name: str, phase: str = "model", **changes: Any) -> list[TrainingJob]:
    """Return the same job with whole models and with spread ones."""
    torch.manual_seed(5)  # of phase 1's teacher
    whole = job(f"{name} whole", phase, log_every=1, **changes)
    config = whole.config.model_copy(update={"sharding": "full"})
    return [whole, replace(whole, config=config, scratch=whole.scratch.with_name(f"{name} spread"))]


def result(job: TrainingJob) -> Trained:
    found = result_of(job)
    assert found is not None
    return found


def same(one: TrainingJob, other: TrainingJob, **tolerance: float) -> None:
    one_state, other_state = result(one).module, result(other).module
    assert one_state.keys() == other_state.keys()
    for name, weight in one_state.items():
        if tolerance["rtol"] and name.endswith("key.bias"):
            continue  # no softmax sees it: its gradient is nothing but rounding errors
        torch.testing.assert_close(other_state[name], weight, msg=name, **tolerance)
    losses = [[entry["loss"] for entry in result(each).figures["history"]] for each in (one, other)]
    assert losses[0] == pytest.approx(losses[1], rel=tolerance["rtol"], abs=tolerance["atol"])


@pytest.mark.slow
def test_spread_models_learn_what_whole_ones_do(job: Job, model_folder: Path) -> None:
    # One batch a worker: what two workers add up has one order.
    exact = [
        pair(job, "plain", ema_decay=0.9, average_best=2),
        pair(job, "bfloat16", precision="bfloat16"),
    ]
    # Of three batches one worker has two; a norm is summed in another order.
    close = [pair(job, "uneven", batches_per_update=3), pair(job, "clipped", clip_norm=0.1)]
    for phase in ("model", "generator"):
        uneven = pair(job, f"guided {phase}", phase, batches_per_update=3)
        teacher = uneven[0].teacher or model_folder
        close.append([with_teacher(each, teacher) for each in uneven])
    on_two(train_all, [each for both in (*exact, *close) for each in both])
    for both in exact:
        same(*both, **EXACT)
    for both in close:
        same(*both, **CLOSE)


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, pytest.param(1, marks=pytest.mark.long)])
def test_a_checkpoint_does_not_tell_how_it_was_held(job: Job, first: int) -> None:
    both = pair(job, "resumed", ema_decay=0.9)
    unbroken = replace(both[0], scratch=both[0].scratch.with_name("unbroken"))
    one = both[first]
    other = replace(both[1 - first], scratch=one.scratch)
    on_two(train_all, [unbroken])
    on_two(stop_then_go_on, one, other)
    same(unbroken, other, **EXACT)


@pytest.mark.slow
def test_one_worker_goes_on_from_what_two_left(job: Job) -> None:
    whole, spread = pair(job, "fewer", dropout=0.0)
    on_two(train_all, [whole])
    on_two(stop, spread)
    run_job(spread, World(), lambda _: None)
    same(whole, spread, **CLOSE)


def look(world: World, job: TrainingJob, out: Path) -> None:
    """Check what a worker holds, and that an update without a finite gradient changes nothing."""
    trainee = make_trainee(job, world)
    assert is_spread(trainee.module)
    rows = {name: len(each) for name, each in make_trainee(job, World()).weights().items()}
    held = shares(trainee.module.parameters())
    counts = dict(zip(rows, map(len, held), strict=True))
    for name, count in counts.items():
        assert abs(count - rows[name] / 2) <= 0.5, name
    reader = ShardReader(job.train)
    batches = [reader[world.rank]]
    before = [each.clone() for each in held]
    trainee.backward(batches, math.nan)
    _, skipped = trainee.step(1)
    assert skipped == 1.0
    assert all(map(torch.equal, before, shares(trainee.module.parameters())))
    trainee.backward(batches, 1e-3)
    norm, skipped = trainee.step(2)
    assert skipped == 0.0
    assert not all(map(torch.equal, before, shares(trainee.module.parameters())))
    for parameter in trainee.module.parameters():
        moments = shares(trainee.optimizer.state[parameter][key] for key in ("exp_avg",))
        assert moments[0].shape == shares([parameter])[0].shape
    average = MovingAverage(trainee.module, 0.5)
    average.add(1)
    found = gathered(average.weights, keep=world.rank == 0)
    assert bool(found) == (world.rank == 0)
    if world.rank == 0:
        save_weights(out, {"norm": norm.reshape(1)} | found)


@pytest.mark.slow
def test_each_holds_half_and_skips_what_is_not_finite(job: Job, tmp_path: Path) -> None:
    _, spread = pair(job, "looked at", clip_norm=0.1)
    on_two(look, spread, tmp_path / "found")
    assert (tmp_path / "found").exists()


def test_a_worker_with_fewer_batches_gets_one_that_counts_nothing(
    job: Job, model_folder: Path
) -> None:
    whole, spread = pair(job, "uneven", batches_per_update=3)
    batches = [ShardReader(spread.train)[0]]
    assert evened(batches, whole.config, World(1, 2)) == batches
    assert evened(batches * 2, spread.config, World(0, 2)) == batches * 2
    assert evened(batches * 3, spread.config, World()) == batches * 3
    first, added = evened(batches, spread.config, World(1, 2))
    assert first is batches[0]
    assert (added.target_BT == PAD).all()
    trainee = make_trainee(with_teacher(spread, model_folder), World())
    assert trainee.backward([added], 1.0) == 0.0
    gradients = [each.grad for each in trainee.module.parameters() if each.grad is not None]
    assert gradients
    assert all((each == 0).all() for each in gradients)


@pytest.mark.slow
def test_layers_that_several_workers_compile_are_whole_graphs() -> None:
    on_two(count_graphs, 2)  # a layer of the encoder's and one of the decoder's
