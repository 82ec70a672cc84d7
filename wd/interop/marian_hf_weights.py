"""The weights of a MarianMT model of Hugging Face's, in our names and ids."""

from pathlib import Path

import torch
from torch import Tensor

from wd.config import ModelConfig
from wd.errors import ArtifactError
from wd.interop.bart_names import bart_name
from wd.interop.marian_hf import SOURCE_SPM, TARGET_SPM, MarianHf
from wd.interop.teacher import Teacher
from wd.interop.tensors import Tensors, in_our_order, words_bias
from wd.interop.torch_files import state_dict
from wd.interop.vocabulary import sentencepiece_in_our_ids
from wd.model.sizes import OUTPUT_BIAS, tensor_shapes
from wd.model.transformer import position_table

SHARED, PROJECTION, BIAS = "model.shared.weight", "lm_head.weight", "final_logits_bias"
TABLES = {stack: f"model.{stack}.embed_tokens.weight" for stack in ("encoder", "decoder")}
POSITIONS = {stack: f"model.{stack}.embed_positions.weight" for stack in ("encoder", "decoder")}
_CLOSE = 1e-3
"""Positions that were stored with half precision are those of the formula."""


def read(source: MarianHf) -> Teacher:
    """Return the model; raises ArtifactError for what is missing, damaged or left over."""
    config, (from_, to) = source.config, source.vocabularies
    path = source.weights
    tensors = Tensors(state_dict(path), str(path))
    weights = _tables(tensors, source)
    for name in tensor_shapes(config):
        if name.startswith(("encoder.", "decoder.")):
            weights[name] = tensors.take(f"model.{bart_name(name)}")
    bias = torch.zeros(len(to.listed))  # what transformers takes where there is none
    if BIAS in tensors:
        bias = tensors.take(BIAS).flatten()
    weights[OUTPUT_BIAS] = words_bias(bias, to, f"{path}: {BIAS}")
    _check_positions(tensors, config, path)
    tensors.check_all_taken()
    models = (
        sentencepiece_in_our_ids(source.place / SOURCE_SPM, from_),
        sentencepiece_in_our_ids(source.place / TARGET_SPM, to),
    )
    return Teacher(config, weights, models, tensors=tensors.count)


def _tables(tensors: Tensors, source: MarianHf) -> dict[str, Tensor]:
    """Return the embeddings and the output projection, each table once."""
    said, (from_, to) = source.settings, source.vocabularies
    encoder, decoder = TABLES["encoder"], TABLES["decoder"]
    if said.tied_embeddings == "all":
        table = tensors.table([SHARED, encoder, decoder, PROJECTION])
        return {"source_embedding.weight": in_our_order(table, from_, SHARED)}
    # Where nothing is tied, a shared table is read by a stack that has none of its own.
    shared = tensors.take(SHARED) if SHARED in tensors else None
    ties = [decoder, PROJECTION] if said.tied_embeddings == "decoder" else [decoder]
    read, said_by = (
        shared if shared is not None and names[0] not in tensors else tensors.table(names)
        for names in ([encoder], ties)
    )
    found = {
        "source_embedding.weight": in_our_order(read, from_, encoder),
        "target_embedding.weight": in_our_order(said_by, to, decoder),
    }
    if said.tied_embeddings == "none":
        table = tensors.take(PROJECTION)
        found["output_projection.weight"] = in_our_order(table, to, PROJECTION)
    return found


def _check_positions(tensors: Tensors, config: ModelConfig, path: Path) -> None:
    """Take the tables of positions, where a file has them; they are what the config says."""
    for stack, name in POSITIONS.items():
        if name in tensors:
            table = tensors.take(name)
            expected = position_table(config, getattr(config, stack))[: len(table)]
            if table[: len(expected)].shape != expected.shape or not torch.allclose(
                table[: len(expected)], expected, rtol=0, atol=_CLOSE
            ):
                raise ArtifactError(
                    f"{path}: {name} is not the sinusoids of MarianMTModel; learned positions "
                    "cannot be imported"
                )
