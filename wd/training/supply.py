"""The batches of one optimiser step after another, read ahead by a thread."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from wd.config import TrainingConfig
from wd.data.batches import Batch, ShardReader
from wd.training.sharding import evened
from wd.training.world import World

AHEAD = 16
"""Updates whose batches are read ahead: a new window of row groups takes seconds to load."""
MULTIPLE = 8
"""A GPU gets sequences of such lengths: its attention kernels want them, and shapes are fewer."""


class Supply:
    """Holds this worker's batches of one update after another, some of them read ahead."""

    def __init__(self, reader: ShardReader, config: TrainingConfig, world: World) -> None:
        self._reader = reader
        self._config = config
        self._world = world
        self._thread = ThreadPoolExecutor(1, "batches")
        self._ahead: deque[Future[tuple[list[Batch], int]]] = deque()
        self._next: int | None = None

    def take(self, update: int) -> tuple[list[Batch], int]:
        """Return the batches, and the target pieces of all workers' batches."""
        if self._next != update:
            self._ahead.clear()
        first = update + len(self._ahead)
        for one in range(first, min(update + AHEAD, self._config.updates)):
            self._ahead.append(self._thread.submit(self._read, one))
        self._next = update + 1
        return self._ahead.popleft().result()

    def close(self) -> None:
        """Read no more."""
        self._thread.shutdown(cancel_futures=True)

    def _read(self, update: int) -> tuple[list[Batch], int]:
        config, world = self._config, self._world
        indices = self._reader.step(update, config.batches_per_update, config.seed)
        mine = [self._reader[index] for index in indices[world.rank :: world.size]]
        mine = evened(mine, config, world)
        if world.device.type == "cuda":
            mine = [batch.filled(MULTIPLE).pinned() for batch in mine]
        return mine, int(self._reader.tokens[indices].sum())
