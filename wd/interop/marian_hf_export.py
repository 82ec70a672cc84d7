"""A model as a folder that MarianMTModel and MarianTokenizer of transformers load."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wd.config import MAX_POSITIONS, ModelConfig
from wd.data.schema import BOS, EOS, PAD
from wd.data.tokenizer import SOURCE_MODEL, TARGET_MODEL, Tokenizer
from wd.errors import ConfigError
from wd.interop.bart_names import bart_name
from wd.interop.marian_hf import (
    ACTIVATIONS,
    CONFIG,
    SOURCE_SPM,
    TARGET_SPM,
    TARGET_VOCABULARY,
    TOKENIZER_CONFIG,
    VOCABULARY,
    WEIGHTS,
)
from wd.interop.marian_hf_weights import BIAS, POSITIONS, PROJECTION, SHARED, TABLES
from wd.interop.new_folder import new_folder
from wd.model.directory import load_model, save_weights
from wd.model.sizes import OUTPUT_BIAS
from wd.model.transformer import position_table

_THEIR_TABLES = {
    "source_embedding.weight": TABLES["encoder"],
    "target_embedding.weight": TABLES["decoder"],
    "output_projection.weight": PROJECTION,
}


def export_marian_hf(model: Path, out: Path) -> None:
    """Write a model directory as `config.json`, `model.safetensors` and a MarianTokenizer's files.

    `out` appears whole or not at all. Raises ConfigError for a shape that MarianMTModel has not,
    ArtifactError if `model` is not a whole model directory or `out` exists already.
    """
    with new_folder(out) as folder:
        fill_marian_hf(model, folder)


def fill_marian_hf(model: Path, folder: Path) -> None:
    """Write into an empty folder what `export_marian_hf` makes."""
    config, state = load_model(model)
    _check_shape(config, model)
    tokenizer = Tokenizer.load(model)
    joint = tokenizer.source_pieces == tokenizer.target_pieces
    save_weights(folder / WEIGHTS[0], _weights(config, state))
    _write(folder / CONFIG, _config(config))
    _write(folder / "generation_config.json", _generation())
    _write(folder / VOCABULARY, _ids(tokenizer.source_pieces))
    if not joint:
        _write(folder / TARGET_VOCABULARY, _ids(tokenizer.target_pieces))
    described = {"tokenizer_class": "MarianTokenizer", "separate_vocabs": not joint}
    _write(folder / TOKENIZER_CONFIG, described | {"model_max_length": MAX_POSITIONS})
    shutil.copyfile(model / SOURCE_MODEL, folder / SOURCE_SPM)
    shutil.copyfile(model / TARGET_MODEL, folder / TARGET_SPM)


def _check_shape(config: ModelConfig, model: Path) -> None:
    """Raise ConfigError for what MarianMTModel cannot be."""
    widths = config.encoder.d_model, config.decoder.d_model
    lacks = {
        f"an encoder of width {widths[0]} and a decoder of {widths[1]}": widths[0] != widths[1],
        "pre-norm layers": config.norm == "pre",
        "linear maps without biases": not config.biases,
    }
    if found := [what for what, there in lacks.items() if there]:
        raise ConfigError(
            f"{model}: MarianMTModel cannot have {' and '.join(found)}: use --format ctranslate2"
        )


def _weights(config: ModelConfig, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    tables = {**_THEIR_TABLES}
    if config.tied_embeddings == "all":
        tables["source_embedding.weight"] = SHARED
    theirs = {tables.get(name, f"model.{bart_name(name)}"): each for name, each in state.items()}
    bias = theirs.pop(f"model.{OUTPUT_BIAS}", torch.zeros(config.target_vocabulary))
    theirs[BIAS] = bias[None]
    if not _has_their_positions(config):
        for stack, name in POSITIONS.items():
            theirs[name] = position_table(config, getattr(config, stack))
    return theirs


def _has_their_positions(config: ModelConfig) -> bool:
    """Whether MarianMTModel makes a model's sinusoids by itself."""
    return config.positions == "paper" and config.first_position == 0


def _config(config: ModelConfig) -> dict[str, Any]:
    sizes = {
        f"{stack}_{theirs}": getattr(getattr(config, stack), ours)
        for stack in ("encoder", "decoder")
        for theirs, ours in (
            ("layers", "layers"),
            ("attention_heads", "heads"),
            ("ffn_dim", "feed_forward"),
        )
    }
    told = {
        "model_type": "marian",
        "architectures": ["MarianMTModel"],
        "is_encoder_decoder": True,
        "d_model": config.encoder.d_model,
        **sizes,
        "activation_function": {ours: theirs for theirs, ours in ACTIVATIONS.items()}[
            config.activation
        ],
        "scale_embedding": config.scale_embeddings,
        "share_encoder_decoder_embeddings": config.tied_embeddings == "all",
        "tie_word_embeddings": config.tied_embeddings != "none",
        "vocab_size": config.source_vocabulary,
        "decoder_vocab_size": config.target_vocabulary,
        "max_position_embeddings": MAX_POSITIONS,
        **_special(),
        "bos_token_id": BOS,
        "forced_eos_token_id": None,
    }
    if not _has_their_positions(config):  # for `wd import`; transformers reads the table
        told |= {"positions": config.positions, "first_position": config.first_position}
    return told


def _special() -> dict[str, int]:
    return {"pad_token_id": PAD, "eos_token_id": EOS, "decoder_start_token_id": BOS}


def _generation() -> dict[str, Any]:
    return {**_special(), "bad_words_ids": [[PAD], [BOS]], "num_beams": 4}


def _ids(pieces: Sequence[str]) -> dict[str, int]:
    return {piece: index for index, piece in enumerate(pieces)}


def _write(path: Path, tree: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(tree, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
