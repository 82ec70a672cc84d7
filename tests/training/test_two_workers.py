"""Two processes go on bit for bit where they were stopped. (That they equal one: distributed/.)"""

import os
import socket
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.distributed
import torch.multiprocessing

from tests.device import World
from wd.training.job import TrainingJob, result_of
from wd.training.loop import Wish
from wd.training.run import run_job


class KilledError(Exception):
    """Stands for whatever ends a process."""


def work(rank: int, port: int, pairs: list[tuple[TrainingJob, TrainingJob]]) -> None:
    """Be one of two workers: run the first of each pair in one go, the other in three."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    for whole, broken in pairs:
        run_job(whole, World(rank, 2), lambda _: None)
        for stop in (6, 3):  # after update 6 and, going on from 4, after update 7
            with pytest.raises(KilledError):
                run_job(broken, World(rank, 2), lambda _: None, killer(stop))
        run_job(broken, World(rank, 2), lambda _: None)
    torch.distributed.destroy_process_group()
    os._exit(0)  # what is tested is over; torch's threads may abort an interpreter that ends


def killer(stop: int) -> Callable[[], Wish]:
    """Return a hook that is called after each update; that many calls are fatal."""
    done = 0

    def count() -> Wish:
        nonlocal done
        done += 1
        if done == stop:
            raise KilledError
        return "go on"

    return count


@pytest.mark.slow
def test_two_workers_resume_bit_for_bit(job: Callable[..., TrainingJob]) -> None:
    pairs = []
    for phase in ("model", "generator"):
        # Of three batches one worker has two.
        whole = job(f"whole {phase}", phase, log_every=1, batches_per_update=3, ema_decay=0.9)
        pairs.append((whole, replace(whole, scratch=whole.scratch.with_name(f"broken {phase}"))))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(work, (port, pairs), nprocs=2)
    for whole, broken in pairs:
        one, other = result_of(broken), result_of(whole)
        assert one.figures["history"] == other.figures["history"]
        for name, weight in other.module.items():
            assert torch.equal(one.module[name], weight), name
