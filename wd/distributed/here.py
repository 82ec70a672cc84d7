"""Part files mapped without Ray: in this process, and where that takes long in a few beside it."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context, parent_process
from typing import Any

from wd.distributed.parts import Worker, make
from wd.errors import UserError
from wd.logs import Voice
from wd.machine import usable_cpus
from wd.places import Place

_WORTH = 20.0
"""Seconds that the parts must still take here for a pool, which starts in about two, to pay."""


def map_here(
    worker: Worker, todo: Sequence[Place], out: Place, told: Callable[[], None], *, cpus: float
) -> None:
    """Make every part; in as many processes as there are `cpus` for each, once that pays.

    `told` is called after each. Stops at the first error, which it raises: a UserError if a
    process is lost, which is as a rule one that took too much memory.
    """
    processes, began = int(usable_cpus() / cpus), time.monotonic()
    for number, part in enumerate(todo):
        mean = (time.monotonic() - began) / number if number else 0.0
        left = todo[number:]
        if processes > 1 and len(left) > 1 and mean * len(left) > _WORTH:
            return _map_beside(worker, left, out, told, min(processes, len(left)))
        make(worker, part, out)
        told()


def map_with(
    build: Callable[..., Worker],
    args: tuple[Any, ...],
    todo: Sequence[Place],
    out: Place,
    told: Callable[[], None],
) -> None:
    """Build a worker, as an actor would, and make every part with it, one after another."""
    worker = build(*args)
    for part in todo:
        make(worker, part, out)
        told()


def _map_beside(
    worker: Worker, todo: Sequence[Place], out: Place, told: Callable[[], None], processes: int
) -> None:
    # Not forked: a fork of a process whose libraries have threads may hang.
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _begin, (Voice.here(),))
    try:
        made = [pool.submit(partial(make, worker, part, out)) for part in todo]
        for one in made:
            one.result()
            told()
    except BrokenProcessPool:
        raise UserError(
            f"one of {processes} processes that map data was lost, perhaps for want of memory: "
            "raise ray.map_cpus for fewer of them; finished parts are kept"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(voice: Voice) -> None:
    """End this process when its parent is killed, which the pool itself would not notice."""
    voice.adopt()
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
