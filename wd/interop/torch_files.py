"""Torch's and safetensors' files, read without running code that they hold."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wd.errors import ArtifactError
from wd.interop.shard_index import ShardIndex
from wd.model.directory import load_weights


def state_dict(path: Path) -> dict[str, Tensor]:
    """Return the named tensors of a file, or of all that an index names.

    Raises ArtifactError as `plain_data` does, and for an index that its files do not bear out.
    """
    if path.suffix == ".json":
        index = ShardIndex.read(path)
        return index.joined({part: state_dict(part) for part in index.files})
    if path.suffix == ".safetensors":
        return load_weights(path)
    loaded = plain_data(path, instead="save its state dict as safetensors")
    if not is_state(loaded):
        raise ArtifactError(f"{path}: not a state dict, which maps names to tensors")
    return dict(loaded)


def is_state(loaded: Any) -> bool:
    """Whether something maps names to tensors."""
    return isinstance(loaded, dict) and all(isinstance(each, Tensor) for each in loaded.values())


def plain_data(path: Path, *, harmless: Sequence[Any] = (), instead: str) -> Any:
    """Return what a torch file holds: tensors, plain data and objects of `harmless` kinds.

    Raises ArtifactError if it is damaged, or holds something else, which would have to be run to
    be loaded; `instead` is the way out.
    """
    try:
        with torch.serialization.safe_globals(list(harmless)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged pickle ends in
        if "GLOBAL" in str(error):  # torch names what it does not load
            raise ArtifactError(
                f"{path}: it holds Python objects beside tensors, and to load them would run code: "
                f"load it where you trust it, and {instead}"
            ) from None
        raise ArtifactError(f"{path}: not a whole torch file; take another copy") from None
