"""What to tell when a training does not fit its GPU: how much was there, and what to lower."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial

from wd import errors
from wd.config import TrainingConfig
from wd.data.batches import Batch
from wd.training.world import World


def memory_explained(
    config: TrainingConfig, world: World, batches: Sequence[Batch] = ()
) -> AbstractContextManager[None]:
    """Turn a lack of memory into a DeviceMemoryError that names the keys to change.

    `batches` are those that are being computed, if any are.
    """
    return errors.memory_explained(
        partial(_explanation, config=config, world=world, batches=batches)
    )


def _explanation(lack: str, config: TrainingConfig, world: World, batches: Sequence[Batch]) -> str:
    where = f"on worker {world.rank} of {world.size}" if world.size > 1 else "training"
    lines = [f"out of memory {where}{_largest(batches)}. {lack}"]
    lines.append(
        "lower shards.batch_tokens and raise batches_per_update in the same measure, which leaves "
        f"the update what it is: half of the one and {2 * config.batches_per_update} of the other"
    )
    if config.precision == "float32":
        lines.append("precision: bfloat16 keeps activations in half of the bytes")
    if config.sharding == "none":
        lines.append(
            "sharding: full shares weights, gradients and Adam's moments out among ray.workers"
        )
    lines.append("where students or trials share a GPU, let fewer do so: ray.gpus_per_worker")
    lines.append("`wd plan RECIPE --gpu NAME` tells what fits")
    return "\n  ".join(lines)


def _largest(batches: Sequence[Batch]) -> str:
    if not batches:
        return ""
    batch = max(batches, key=lambda each: each.source_BS.numel() + each.target_BT.numel())
    (sentences, sources), targets = batch.source_BS.shape, batch.target_BT.shape[1]
    return (
        f", in a batch of {sentences:,} sentences: {sentences * sources:,} source and "
        f"{sentences * targets:,} target pieces, padding included"
    )
