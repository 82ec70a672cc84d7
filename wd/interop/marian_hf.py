"""A MarianMT model of Hugging Face's: what its configuration and its vocabularies say."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from wd.config import ModelConfig, validated
from wd.errors import ArtifactError, ConfigError
from wd.files import parse_json, read_small
from wd.interop.shard_index import ShardIndex
from wd.interop.source import Source
from wd.interop.vocabulary import Vocabulary, chosen_tag, id_of, in_order_of_ids

CONFIG, TOKENIZER_CONFIG = "config.json", "tokenizer_config.json"
SOURCE_SPM, TARGET_SPM = "source.spm", "target.spm"
VOCABULARY, TARGET_VOCABULARY = "vocab.json", "target_vocab.json"
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""The first that is there counts."""
ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "silu": "silu", "swish": "silu"}
_MOST_BYTES = 100_000_000
_Id = Annotated[int, Field(ge=0)]


class MarianConfig(BaseModel):
    """What is read of `config.json`; defaults are transformers'."""

    model_config = ConfigDict(strict=True)

    model_type: Literal["marian"]
    d_model: int = 1024
    encoder_layers: int = 12
    encoder_attention_heads: int = 16
    encoder_ffn_dim: int = 4096
    decoder_layers: int = 12
    decoder_attention_heads: int = 16
    decoder_ffn_dim: int = 4096
    activation_function: Literal["relu", "gelu", "silu", "swish"] = "gelu"
    scale_embedding: bool = False
    share_encoder_decoder_embeddings: bool = True
    tie_word_embeddings: bool = True
    pad_token_id: _Id = 58100
    eos_token_id: _Id = 0
    decoder_start_token_id: _Id = 58100
    normalize_before: Literal[False] = False
    normalize_embedding: Literal[False] = False
    add_final_layer_norm: Literal[False] = False
    static_position_embeddings: Literal[True] = True
    positions: Literal["paper", "tensor2tensor"] = "paper"
    """Only what this project has exported says otherwise, and holds the table."""
    first_position: _Id = 0

    @property
    def tied_embeddings(self) -> str:
        """What `ModelShape` calls the sharing of tables."""
        if not self.tie_word_embeddings:
            return "none"
        return "all" if self.share_encoder_decoder_embeddings else "decoder"

    def stack(self, name: str) -> dict[str, int]:
        """Return what `StackShape` has of a stack."""
        return {
            "layers": getattr(self, f"{name}_layers"),
            "d_model": self.d_model,
            "heads": getattr(self, f"{name}_attention_heads"),
            "feed_forward": getattr(self, f"{name}_ffn_dim"),
        }


class MarianHf(Source):
    """A folder that `MarianMTModel` and `MarianTokenizer` of transformers load."""

    kind = "Hugging Face MarianMT"
    has_tags = True

    @cached_property
    def settings(self) -> MarianConfig:
        """What the model's configuration says."""
        path = self.place / CONFIG
        try:
            return validated(MarianConfig, _json(path), str(path))
        except ConfigError as error:
            raise ConfigError(
                f"{error}. What can be imported is a MarianMTModel as transformers runs it: "
                "post-norm, sinusoidal positions, relu, gelu or swish"
            ) from None

    @property
    def config(self) -> ModelConfig:
        """See `Source.config`."""
        said, (source, target) = self.settings, self.vocabularies
        shape = {
            "encoder": said.stack("encoder"),
            "decoder": said.stack("decoder"),
            "norm": "post",
            "activation": ACTIVATIONS[said.activation_function],
            "tied_embeddings": said.tied_embeddings,
            "output_bias": True,
            "scale_embeddings": said.scale_embedding,
            "positions": said.positions,
            "first_position": said.first_position,
            "source_vocabulary": len(source.rows),
            "target_vocabulary": len(target.rows),
        }
        return validated(ModelConfig, shape, str(self.place / CONFIG))

    @cached_property
    def vocabularies(self) -> tuple[Vocabulary, Vocabulary]:
        """The source's and the target's; the same, its tag apart, where they are joint."""
        path = self.place / VOCABULARY
        listed = in_order_of_ids(_json(path), path)
        tag = chosen_tag(listed, self.into, path)
        if not self._is_separate:
            one = self._with_settings_ids(listed, path)
            return replace(one, tag=tag), one
        pad = listed.index("<pad>") if "<pad>" in listed else None
        eos, unk = id_of("</s>", listed, path), id_of("<unk>", listed, path)
        source = Vocabulary(listed, unk=unk, eos=eos, start=pad, pad=pad, tag=tag)
        path = self.place / TARGET_VOCABULARY
        return source, self._with_settings_ids(in_order_of_ids(_json(path), path), path)

    def _with_settings_ids(self, listed: tuple[str, ...], path: Path) -> Vocabulary:
        """Return the vocabulary that the configuration's ids are in."""
        said = self.settings
        eos, start, pad = said.eos_token_id, said.decoder_start_token_id, said.pad_token_id
        if max(eos, start, pad) >= len(listed):
            raise ArtifactError(
                f"{path}: {len(listed)} pieces, but {CONFIG} speaks of piece "
                f"{max(eos, start, pad)}: they were not made for each other"
            )
        unk = id_of("<unk>", listed, path)
        return Vocabulary(listed, unk=unk, eos=eos, start=start, pad=pad)

    @property
    def _is_separate(self) -> bool:
        path = self.place / TOKENIZER_CONFIG
        return path.is_file() and _json(path).get("separate_vocabs") is True

    @property
    def is_joint(self) -> bool:
        """See `Source.is_joint`."""
        return not self._is_separate

    @property
    def weights(self) -> Path:
        """The file of the weights; raises ArtifactError if there is none."""
        for name in WEIGHTS:
            if (self.place / name).is_file():
                return self.place / name
        raise ArtifactError(f"{self.place}: no weights: it has none of {', '.join(WEIGHTS)}")

    @property
    def files(self) -> dict[str, Path]:
        """See `Source.files`."""
        names = [CONFIG, SOURCE_SPM, TARGET_SPM, VOCABULARY]
        names += [TARGET_VOCABULARY] if self._is_separate else []
        names += [TOKENIZER_CONFIG] if (self.place / TOKENIZER_CONFIG).is_file() else []
        paths = [self.place / name for name in names] + [self.weights]
        if self.weights.suffix == ".json":
            paths += ShardIndex.read(self.weights).files
        for path in paths:
            if not path.is_file():
                raise ArtifactError(f"{self.place}: not a whole {self.kind} model: no {path.name}")
        return {path.name: path for path in paths}


def _json(path: Path) -> dict[str, Any]:
    try:
        tree = parse_json(read_small(path, _MOST_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(f"{path}: no such file") from None
    except ValueError as error:
        raise ArtifactError(f"{path}: damaged: {error}") from None
    if not isinstance(tree, dict):
        raise ArtifactError(f"{path}: damaged: a mapping is expected")
    return tree
