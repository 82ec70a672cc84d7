"""Tensors on their way from training to a file, while training goes on and changes them."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Tensors = Mapping[str, Mapping[str, Tensor]]
"""Named tensors, by what they are part of."""


class Copies:
    """Copies on the CPU, which go on changing with nothing.

    From a GPU they come over a stream of their own into memory that the GPU writes by itself; the
    training waits only for a copy on the GPU, a few milliseconds.
    """

    def __init__(self, tensors: Tensors) -> None:
        """Begin to copy."""
        self._arrived: torch.cuda.Event | None = None
        devices = {each.device for named in tensors.values() for each in named.values()}
        gpus = [device for device in devices if device.type == "cuda"]
        if not gpus:
            self._copies = _each(tensors, lambda each: each.detach().to("cpu", copy=True))
            return
        still = _each(tensors, lambda each: each.detach().clone())
        stream = torch.cuda.Stream(gpus[0])
        stream.wait_stream(torch.cuda.current_stream(gpus[0]))
        with torch.cuda.stream(stream):
            self._copies = _each(still, lambda each: _sent(each, stream))
            self._arrived = stream.record_event()

    def ready(self) -> Tensors:
        """Return the copies when all of them are there."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._copies


def _sent(tensor: Tensor, stream: torch.cuda.Stream) -> Tensor:
    """Return a pinned copy that is filled on a stream."""
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    host.copy_(tensor, non_blocking=True)
    if tensor.is_cuda:
        tensor.record_stream(stream)  # its memory is not to be used again before
    return host


def _each(tensors: Tensors, function: Callable[[Tensor], Tensor]) -> Tensors:
    return {
        part: {name: function(each) for name, each in named.items()}
        for part, named in tensors.items()
    }
