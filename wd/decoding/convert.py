"""From a state dict to a CTranslate2 model directory."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ctranslate2.specs import (
    TransformerDecoderSpec,
    TransformerEncoderSpec,
    TransformerSpec,
    attention_spec,
    common_spec,
    transformer_spec,
)
from torch import Tensor, float32

from wd.config import ModelConfig, Quantization
from wd.data.schema import BOS, EOS, UNK
from wd.errors import ArtifactError
from wd.model.sizes import OUTPUT_BIAS
from wd.model.transformer import position_table

LAYER_NORM_EPSILON = 1e-5
_TABLES = ("source_embedding.weight", "target_embedding.weight", "output_projection.weight")
_ACTIVATIONS = {
    "relu": common_spec.Activation.RELU,
    "gelu": common_spec.Activation.GELU,
    "silu": common_spec.Activation.SWISH,
}


def write_ctranslate2(
    folder: Path,
    config: ModelConfig,
    state: Mapping[str, Tensor],
    *,
    source_pieces: Sequence[str],
    target_pieces: Sequence[str],
    quantization: Quantization = "float32",
) -> None:
    """Write `model.bin`, `config.json` and the vocabularies into an existing folder.

    The pieces are those of the tokenizer in id order. The converted model expects sources that
    end in EOS, and starts to decode from BOS.
    Raises ArtifactError if the model's vocabularies are not the tokenizer's.
    """
    _check_vocabulary("source", config.source_vocabulary, len(source_pieces))
    _check_vocabulary("target", config.target_vocabulary, len(target_pieces))
    # Numpy and not torch: CTranslate2 compares numpy tables cheaply when it looks for shared ones.
    weights = {name: tensor.detach().to("cpu", float32).numpy() for name, tensor in state.items()}
    spec = _Weights(weights).model(config)
    spec.config.unk_token = target_pieces[UNK]
    spec.config.bos_token = spec.config.decoder_start_token = target_pieces[BOS]
    spec.config.eos_token = target_pieces[EOS]
    spec.config.layer_norm_epsilon = LAYER_NORM_EPSILON
    spec.register_source_vocabulary(list(source_pieces))
    spec.register_target_vocabulary(list(target_pieces))
    spec.validate()
    spec.optimize(quantization=quantization)
    spec.save(str(folder))


def _check_vocabulary(side: str, model: int, tokenizer: int) -> None:
    if model != tokenizer:
        raise ArtifactError(
            f"the model has {model} {side} pieces, its tokenizer {tokenizer}: "
            "they were not made for each other"
        )


class _Weights:
    """Named arrays that fill CTranslate2's layer specifications."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays = arrays

    def model(self, config: ModelConfig) -> TransformerSpec:
        """Return the whole model, vocabularies apart."""
        encoder, decoder = config.encoder, config.decoder
        wiring = {"pre_norm": config.norm == "pre", "activation": _ACTIVATIONS[config.activation]}
        spec = TransformerSpec(
            TransformerEncoderSpec(encoder.layers, encoder.heads, **wiring),
            TransformerDecoderSpec(decoder.layers, decoder.heads, **wiring),
        )
        # Copied, as concatenating copies the other weights: CTranslate2 quantizes them in place.
        tables = {name: self._arrays[name].copy() for name in _TABLES if name in self._arrays}
        source = tables["source_embedding.weight"]
        target = tables.get("target_embedding.weight", source)
        spec.encoder.embeddings[0].weight = source
        spec.decoder.embeddings.weight = target
        spec.decoder.projection.weight = tables.get("output_projection.weight", target)
        if config.output_bias:
            spec.decoder.projection.bias = self._arrays[OUTPUT_BIAS]
        for name, stack, shape in (
            ("encoder", spec.encoder, encoder),
            ("decoder", spec.decoder, decoder),
        ):
            # Given explicitly, because CTranslate2's own positions start at 1.
            stack.position_encodings.encodings = position_table(config, shape).numpy()
            stack.scale_embeddings = config.scale_embeddings
            for index, layer in enumerate(stack.layer):
                self._layer(layer, f"{name}.layers.{index}")
            if config.norm == "pre":
                self._norm(stack.layer_norm, f"{name}.norm")
        return spec

    def _layer(
        self,
        spec: transformer_spec.TransformerEncoderLayerSpec
        | transformer_spec.TransformerDecoderLayerSpec,
        name: str,
    ) -> None:
        inputs = [["query", "key", "value"], ["output"]]
        self._attention(spec.self_attention, f"{name}.self_attention", inputs)
        if isinstance(spec, transformer_spec.TransformerDecoderLayerSpec):
            inputs = [["query"], ["key", "value"], ["output"]]
            self._attention(spec.attention, f"{name}.cross_attention", inputs)
        self._linear(spec.ffn.linear_0, f"{name}.feed_forward.inner")
        self._linear(spec.ffn.linear_1, f"{name}.feed_forward.outer")
        self._norm(spec.ffn.layer_norm, f"{name}.feed_forward_norm")

    def _attention(
        self, spec: attention_spec.MultiHeadAttentionSpec, name: str, maps: list[list[str]]
    ) -> None:
        """Fill one attention block; projections of the same input are fused into one map."""
        for linear, fused in zip(spec.linear, maps, strict=True):
            self._linear(linear, *(f"{name}.{projection}" for projection in fused))
        self._norm(spec.layer_norm, f"{name}_norm")

    def _linear(self, spec: common_spec.LinearSpec, *names: str) -> None:
        spec.weight = np.concatenate([self._arrays[f"{name}.weight"] for name in names])
        if f"{names[0]}.bias" in self._arrays:
            spec.bias = np.concatenate([self._arrays[f"{name}.bias"] for name in names])

    def _norm(self, spec: common_spec.LayerNormSpec, name: str) -> None:
        spec.gamma = self._arrays[f"{name}.weight"]
        spec.beta = self._arrays[f"{name}.bias"]
