"""A Transformer of fairseq's: a checkpoint, its dictionaries, and its SentencePiece model."""

import argparse
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from wd.config import ModelConfig, validated
from wd.errors import ArtifactError, ConfigError
from wd.interop.source import Source
from wd.interop.vocabulary import Vocabulary

_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
"""The first pieces of every dictionary, which its file does not hold."""
_PAD, _EOS, _UNK = 1, 2, 3
_FIRST_POSITION = _PAD + 1
_SUPPORTED = (
    "what can be imported is fairseq's `transformer` for translation: relu, gelu or swish, "
    "sinusoidal positions, pre- or post-norm in both stacks, no adaptive softmax"
)
_CONVERT = (
    "save it again, with torch.save, as {'args': vars(checkpoint['args']), 'model': "
    "checkpoint['model']} (of newer versions: vars or a dict of checkpoint['cfg']['model'])"
)
_CODES = (
    "A model whose words were split by codes of subword-nmt or fastBPE cannot be imported: it "
    "reads text that Moses' tokenizer took apart, which nothing here does or undoes. Train a "
    "teacher on SentencePiece's pieces, or let this one translate your sources with its own tools "
    "and give the translations, as plain text, for a corpus"
)
_Off = Literal[False] | None


class _Settings(BaseModel):
    """What is read of a checkpoint's arguments; defaults are those of fairseq's architecture."""

    model_config = ConfigDict(extra="ignore")

    arch: Annotated[str, Field(pattern="^transformer")] = "transformer"
    source_lang: str | None = None
    target_lang: str | None = None
    encoder_embed_dim: int = 512
    encoder_layers: int = 6
    encoder_attention_heads: int = 8
    encoder_ffn_embed_dim: int = 2048
    encoder_normalize_before: bool = False
    encoder_learned_pos: _Off = False
    decoder_embed_dim: int = 512
    decoder_layers: int = 6
    decoder_attention_heads: int = 8
    decoder_ffn_embed_dim: int = 2048
    decoder_normalize_before: bool = False
    decoder_learned_pos: _Off = False
    activation_fn: Literal["relu", "gelu", "swish"] = "relu"
    share_all_embeddings: bool = False
    share_decoder_input_output_embed: bool = False
    no_scale_embedding: bool = False
    no_token_positional_embeddings: _Off = False
    layernorm_embedding: _Off = False
    no_cross_attention: _Off = False
    cross_self_attention: _Off = False
    no_decoder_final_norm: _Off = False
    adaptive_softmax_cutoff: None = None

    @property
    def tied_embeddings(self) -> str:
        """What `ModelShape` calls the sharing of tables."""
        if self.share_all_embeddings:
            return "all"
        return "decoder" if self.share_decoder_input_output_embed else "none"

    def stack(self, name: str) -> dict[str, int]:
        """Return what `StackShape` has of a stack."""
        return {
            "layers": getattr(self, f"{name}_layers"),
            "d_model": getattr(self, f"{name}_embed_dim"),
            "heads": getattr(self, f"{name}_attention_heads"),
            "feed_forward": getattr(self, f"{name}_ffn_embed_dim"),
        }


class Fairseq(Source):
    """A folder with one checkpoint (`*.pt`), `dict.*.txt` and SentencePiece's `*.model`."""

    kind = "fairseq"

    @cached_property
    def checkpoint(self) -> dict[str, Any]:
        """What the checkpoint holds."""
        from wd.interop.torch_files import plain_data

        path = self.checkpoint_path
        loaded = plain_data(path, harmless=[argparse.Namespace], instead=_CONVERT)
        if not isinstance(loaded, dict) or not isinstance(loaded.get("model"), dict):
            raise ArtifactError(f"{path}: not a checkpoint of fairseq, which has a `model`")
        return loaded

    @property
    def checkpoint_path(self) -> Path:
        """The file of the checkpoint; raises ArtifactError unless there is one."""
        found = sorted(self.place.glob("*.pt"))
        if len(found) != 1:
            names = ", ".join(path.name for path in found) or "none"
            raise ArtifactError(
                f"{self.place}: which checkpoint? There is to be one *.pt, and there is {names}"
            )
        return found[0]

    @cached_property
    def settings(self) -> _Settings:
        """What the checkpoint says of the model."""
        told = self.checkpoint.get("args") or {}
        whole = self.checkpoint.get("cfg")
        if not told and isinstance(whole, dict):
            told = {**_dict(whole.get("task")), **_dict(whole.get("model"))}
        try:
            return validated(_Settings, _dict(told), str(self.checkpoint_path))
        except ConfigError as error:
            raise ConfigError(f"{error}; {_SUPPORTED}") from None

    @property
    def config(self) -> ModelConfig:
        """See `Source.config`."""
        said, (source, target) = self.settings, self.vocabularies
        if said.encoder_normalize_before != said.decoder_normalize_before:
            raise ConfigError(f"{self.checkpoint_path}: only one stack is pre-norm; {_SUPPORTED}")
        if said.share_all_embeddings and source != target:
            raise ArtifactError(
                f"{self.checkpoint_path}: share_all_embeddings, but the dictionaries of "
                f"{said.source_lang} and {said.target_lang} are not the same"
            )
        shape = {
            "encoder": said.stack("encoder"),
            "decoder": said.stack("decoder"),
            "norm": "pre" if said.encoder_normalize_before else "post",
            "activation": {"swish": "silu"}.get(said.activation_fn, said.activation_fn),
            "tied_embeddings": said.tied_embeddings,
            "output_bias": True,
            "scale_embeddings": not said.no_scale_embedding,
            "first_position": _FIRST_POSITION,
            "source_vocabulary": len(source.rows),
            "target_vocabulary": len(target.rows),
        }
        return validated(ModelConfig, shape, str(self.checkpoint_path))

    @cached_property
    def vocabularies(self) -> tuple[Vocabulary, Vocabulary]:
        """The source's and the target's."""
        source, target = map(_vocabulary, self._by_language("dictionary", "dict.*.txt"))
        return source, target

    @property
    def is_joint(self) -> bool:
        """See `Source.is_joint`."""
        source, target = self.vocabularies
        return source == target

    @property
    def sentencepiece(self) -> tuple[Path, Path]:
        """The model files of both sides, perhaps one and the same."""
        if not list(self.place.glob("*.model")):
            raise ConfigError(f"{self.place}: no SentencePiece model (*.model). {_CODES}")
        return self._by_language("SentencePiece model", "*.model")

    def _by_language(self, what: str, pattern: str) -> tuple[Path, Path]:
        """Return the file of each language: by the language in its name, or one for both."""
        found = sorted(self.place.glob(pattern))
        if len(found) == 1:
            return found[0], found[0]
        said = self.settings
        sides = [
            [path for path in found if language in path.name.split(".")]
            for language in (said.source_lang, said.target_lang)
        ]
        if any(len(paths) != 1 for paths in sides):
            raise ArtifactError(
                f"{self.place}: which {what} is which? There is to be one file {pattern} for both "
                f"languages, or one each with {said.source_lang} and {said.target_lang} for a part "
                f"of its name; there is {', '.join(path.name for path in found) or 'none'}"
            )
        return sides[0][0], sides[1][0]

    @property
    def files(self) -> dict[str, Path]:
        """See `Source.files`."""
        dictionaries = self._by_language("dictionary", "dict.*.txt")
        paths = (self.checkpoint_path, *dictionaries, *self.sentencepiece)
        return {path.name: path for path in paths}


def _dict(told: Any) -> dict[str, Any]:
    if isinstance(told, argparse.Namespace):
        return vars(told)
    return dict(told) if isinstance(told, Mapping) else {}


def _vocabulary(path: Path) -> Vocabulary:
    """Return the pieces of a dictionary's file: one a line, and how often it occurs."""
    try:
        lines = path.read_text("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise ArtifactError(f"{path}: damaged: not UTF-8") from None
    pieces = [line.removesuffix(" #fairseq:overwrite").rpartition(" ")[0] for line in lines]
    for number, piece in enumerate(pieces, 1):
        if not piece:
            raise ArtifactError(f"{path}: line {number} is not a piece and a number")
    if len(set(pieces)) != len(pieces):
        raise ArtifactError(f"{path}: damaged: a piece is there twice")
    return Vocabulary((*_SPECIAL, *pieces), unk=_UNK, eos=_EOS, start=_EOS, pad=_PAD)
