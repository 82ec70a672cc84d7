"""The weights of a Marian Transformer, in our names and ids."""

import re

import torch
from torch import Tensor

from wd.errors import ArtifactError
from wd.interop.marian_npz import DAMAGED, SETTINGS, MarianNpz
from wd.interop.teacher import Teacher
from wd.interop.tensors import Tensors, in_our_order, words_bias
from wd.interop.vocabulary import sentencepiece_in_our_ids
from wd.model.sizes import OUTPUT_BIAS, tensor_shapes

_ENCODER, _DECODER, _ALL = "encoder_Wemb", "decoder_Wemb", "Wemb"
_PROJECTION = "decoder_ff_logit_out"
_BLOCKS = {"self_attention": "self", "cross_attention": "context"}
_LETTERS = {"query": "q", "key": "k", "value": "v", "output": "o", "inner": "1", "outer": "2"}
_LAYER = re.compile(r"(encoder|decoder)\.layers\.(\d+)\.(.+)\.(weight|bias)")


def read(source: MarianNpz) -> Teacher:
    """Return the model; raises ArtifactError for what is missing, damaged or left over."""
    config, (from_, to) = source.config, source.vocabularies
    where = str(source.weights)
    try:
        arrays = {name: array for name, array in source.arrays.items() if name != SETTINGS}
    except DAMAGED:
        raise ArtifactError(f"{where}: not a whole .npz file") from None
    tensors = Tensors({name: torch.from_numpy(array) for name, array in arrays.items()}, where)
    weights = _tables(tensors, source)
    for name in tensor_shapes(config):
        if name.startswith(("encoder.", "decoder.")):
            theirs = marian_name(name, pre_norm=config.norm == "pre")
            weights[name] = _as_ours(tensors.take(theirs), name)
    bias = torch.zeros(len(to.listed))
    if not source.settings.omits_bias:
        bias = tensors.take(f"{_PROJECTION}_b").flatten()
    weights[OUTPUT_BIAS] = words_bias(bias, to, f"{where}: {_PROJECTION}_b")
    tensors.check_all_taken()
    one, other = source.sentencepiece
    models = sentencepiece_in_our_ids(one, from_), sentencepiece_in_our_ids(other, to)
    return Teacher(config, weights, models, tensors=tensors.count)


def marian_name(name: str, *, pre_norm: bool) -> str:
    """Return Marian's name for a weight of ours below `encoder.` or `decoder.`."""
    found = _LAYER.fullmatch(name)
    if found is None:  # the norm at a stack's end
        stack, _, kind = name.split(".")
        return f"{stack}_top_ln_{_norm(kind)}"
    stack, layer, place, kind = found.groups()
    prefix = f"{stack}_l{int(layer) + 1}"
    after = "_pre" if pre_norm else ""
    if place == "feed_forward_norm":
        return f"{prefix}_ffn_ffn_ln_{_norm(kind)}{after}"
    if place.endswith("_norm"):
        return f"{prefix}_{_BLOCKS[place.removesuffix('_norm')]}_Wo_ln_{_norm(kind)}{after}"
    block, module = place.split(".")
    letter = "W" if kind == "weight" else "b"
    return f"{prefix}_{_BLOCKS.get(block, 'ffn')}_{letter}{_LETTERS[module]}"


def _norm(kind: str) -> str:
    return "scale" if kind == "weight" else "bias"


def _as_ours(tensor: Tensor, name: str) -> Tensor:
    """Return a matrix [outputs, inputs], or a vector, of what Marian holds as [inputs, outputs]."""
    if name.endswith("norm.weight") or name.endswith("bias"):
        return tensor.flatten()
    return tensor.T.contiguous()


def _tables(tensors: Tensors, source: MarianNpz) -> dict[str, Tensor]:
    """Return the embeddings and the output projection, each table once."""
    said, (from_, to) = source.settings, source.vocabularies
    one = [name for name in (_ALL, _ENCODER, _DECODER) if name in tensors]
    if said.ties == "all" or said.tied_embeddings_src:
        read = written = tensors.table(one or [_ALL])
    else:
        read, written = tensors.take(_ENCODER), tensors.take(_DECODER)
    found = {"source_embedding.weight": in_our_order(read, from_, _ENCODER)}
    if said.ties != "all":
        found["target_embedding.weight"] = in_our_order(written, to, _DECODER)
    if said.ties == "none":
        found["output_projection.weight"] = in_our_order(_projection(tensors), to, _PROJECTION)
    return found


def _projection(tensors: Tensors) -> Tensor:
    """Return the output projection [words, width], which Marian holds either way round."""
    if f"{_PROJECTION}_Wt" in tensors:
        return tensors.take(f"{_PROJECTION}_Wt")
    return tensors.take(f"{_PROJECTION}_W").T
