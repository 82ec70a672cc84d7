"""The weights of a fairseq Transformer, in our names and ids."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from wd.errors import ArtifactError
from wd.interop.bart_names import bart_name
from wd.interop.fairseq import Fairseq
from wd.interop.teacher import Teacher
from wd.interop.tensors import Tensors, in_our_order, words_bias
from wd.interop.torch_files import is_state
from wd.interop.vocabulary import sentencepiece_in_our_ids
from wd.model.sizes import OUTPUT_BIAS, tensor_shapes

_ENCODER, _DECODER = "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"
_PROJECTION = "decoder.output_projection.weight"
_EMPTY = tuple(
    f"{stack}.{name}"
    for stack in ("encoder", "decoder")
    for name in ("version", "embed_positions._float_tensor")
)
"""Buffers that say which version wrote a checkpoint, and on which device it ran."""
_TOGETHER = "in_proj_"


def read(source: Fairseq) -> Teacher:
    """Return the model; raises ArtifactError for what is missing, damaged or left over."""
    config, (from_, to) = source.config, source.vocabularies
    where = str(source.checkpoint_path)
    state = source.checkpoint["model"]
    if not is_state(state):
        raise ArtifactError(
            f"{where}: its `model` is not a state dict, which maps names to tensors"
        )
    tensors = Tensors(_apart(state), where)
    tensors.drop(_EMPTY)
    weights = _tables(tensors, source)
    for name in tensor_shapes(config):
        if name.startswith(("encoder.", "decoder.")):
            weights[name] = tensors.take(bart_name(name))
    weights[OUTPUT_BIAS] = words_bias(torch.zeros(len(to.listed)), to, where)
    tensors.check_all_taken()
    one, other = source.sentencepiece
    models = sentencepiece_in_our_ids(one, from_), sentencepiece_in_our_ids(other, to)
    return Teacher(config, weights, models, tensors=len(state))


def _tables(tensors: Tensors, source: Fairseq) -> dict[str, Tensor]:
    """Return the embeddings and the output projection, each table once."""
    tied, (from_, to) = source.settings.tied_embeddings, source.vocabularies
    if tied == "all":
        table = tensors.table([_ENCODER, _DECODER, _PROJECTION])
        return {"source_embedding.weight": in_our_order(table, from_, _ENCODER)}
    written = [_DECODER, _PROJECTION] if tied == "decoder" else [_DECODER]
    found = {
        "source_embedding.weight": in_our_order(tensors.take(_ENCODER), from_, _ENCODER),
        "target_embedding.weight": in_our_order(tensors.table(written), to, _DECODER),
    }
    if tied == "none":
        # Before it was a layer of its own, the projection was a bare tensor.
        name = _PROJECTION if _PROJECTION in tensors else "decoder.embed_out"
        found["output_projection.weight"] = in_our_order(tensors.take(name), to, name)
    return found


def _apart(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return queries, keys and values apart that older versions hold in one tensor."""
    made: dict[str, Tensor] = {}
    for name, tensor in state.items():
        block, together, kind = name.rpartition(_TOGETHER)
        if together:
            parts = zip("qkv", tensor.chunk(3), strict=True)
            made |= {f"{block}{part}_proj.{kind}": each for part, each in parts}
        else:
            made[name] = tensor
    return made
