"""Validations of a training on workers, told to the process that waits for it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.train import UserCallback
from ray.util.queue import Queue

from wd.training.reporter import OnValidation

_END_SECONDS = 10.0
"""So long the last validations have to be heard."""


class _Teller(UserCallback):
    """Runs in Ray Train's controller, which gets what the workers report."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def after_report(
        self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any
    ) -> None:
        del run_context, checkpoint
        if metrics and metrics[0]:  # the first worker's; the others have no figures
            self._queue.put(metrics[0])


@contextmanager
def heard(on_validation: OnValidation | None) -> Iterator[list[UserCallback]]:
    """Yield the callbacks of a trainer; `on_validation` is called here, in a thread beside.

    All that was told before the context ends has been heard at its end.
    """
    if on_validation is None:
        yield []
        return
    # It waits for tellings all the time and computes nothing.
    queue = Queue(actor_options={"num_cpus": 0})

    def listen() -> None:
        while (figures := queue.get()) is not None:
            on_validation(figures)

    thread = threading.Thread(target=listen, name="hearing", daemon=True)
    thread.start()
    try:
        yield [_Teller(queue)]
    finally:
        queue.put(None)
        thread.join(_END_SECONDS)
        queue.shutdown(force=True)
