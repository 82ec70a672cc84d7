"""A model's weights spread over the workers: each holds its share, and gathers a layer to use it.

That is FSDP2, `torch.distributed.fsdp.fully_shard`: weights, gradients and optimiser state are
DTensors, of which a worker has some rows. What leaves a run (checkpoints, what is validated and
published) is whole, so that no file tells how many workers wrote it.
"""

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import Tensor, nn

from wd.config import TrainingConfig
from wd.data.batches import Batch
from wd.data.schema import PAD
from wd.model.transformer import Transformer
from wd.training.world import World

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def is_sharded(config: TrainingConfig, world: World) -> bool:
    """Whether models are to be spread; a single worker has them whole."""
    return config.sharding == "full" and world.size > 1


def shard(model: Transformer, world: World) -> Transformer:
    """Move a model, alike on all workers, to their devices, and leave each worker its share.

    The weights of a layer are whole while it runs, forward and backward; tables and final norms
    are gathered by the model itself. All workers must run it equally often: see `evened`.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard  # here: importing it takes a second

    model.to(world.device)
    mesh = init_device_mesh(world.device.type, (world.size,))
    for layer in (*model.encoder.layers, *model.decoder.layers):
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    # What is trained needs its tables again at once, for the backward pass; a teacher does not.
    trains = any(parameter.requires_grad for parameter in model.parameters())
    fully_shard(model, mesh=mesh, reshard_after_forward=not trains)
    return model


def evened(batches: list[Batch], config: TrainingConfig, world: World) -> list[Batch]:
    """Let every worker have as many batches of an update, where models are spread.

    A worker with fewer gets a short one that counts nothing, since no gather can be left out.
    """
    if not is_sharded(config, world):
        return batches
    missing = -(-config.batches_per_update // world.size) - len(batches)
    return batches + [_nothing(batches[-1])] * missing


def _nothing(batch: Batch) -> Batch:
    """Return a sentence of a batch, with nothing in its target that a loss would count."""
    target_BT = torch.full_like(batch.target_BT[:1], PAD)
    words = batch.words and batch.words.first()
    return Batch(batch.source_BS[:1], batch.target_in_BT[:1], target_BT, words)


def _is_share(tensor: Tensor) -> "TypeGuard[DTensor]":
    """Whether a tensor is spread: without its module loaded, none is."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def is_spread(module: nn.Module) -> bool:
    """Whether a worker holds but a share of a module's parameters."""
    return any(_is_share(parameter) for parameter in module.parameters())


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor with all its rows; of a spread one, all workers must ask together."""
    return tensor.full_tensor() if _is_share(tensor) else tensor


def gathered(tensors: Mapping[str, Tensor], *, keep: bool = True) -> dict[str, Tensor]:
    """Return detached tensors whole: spread ones on the CPU, if this worker is to keep them.

    One after another, so that no device needs room for more than the largest. All workers must
    ask together.
    """
    found = {}
    for name, tensor in tensors.items():
        all_rows = whole(tensor.detach())
        if not _is_share(tensor):
            found[name] = all_rows
        elif keep:
            found[name] = all_rows.cpu()
    return found


def placed(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor where `like` is: on its device, and only the worker's share of it."""
    if not _is_share(like) or tensor.dim() == 0:
        return tensor.to(like.device)
    from torch.distributed.tensor import distribute_tensor

    # Each worker has read the same file: nothing is sent.
    return distribute_tensor(
        tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None
    )


def shares(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return what this worker holds of tensors, as plain ones on the same memory."""
    return [each.to_local() if _is_share(each) else each for each in tensors]
