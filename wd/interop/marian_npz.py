"""A Transformer of Marian's: its .npz file, and its vocabularies."""

import zlib
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from zipfile import BadZipFile

import numpy as np
import sentencepiece as spm
import yaml
from pydantic import BaseModel, ConfigDict, Field

from wd.config import ModelConfig, validated
from wd.errors import ArtifactError, ConfigError
from wd.interop.source import Source
from wd.interop.vocabulary import Vocabulary, chosen_tag, id_of, in_order_of_ids

SETTINGS = "special:model.yml"
DAMAGED = (OSError, ValueError, EOFError, BadZipFile, zlib.error)
"""What reading a file ends in that was cut off, or whose bytes have changed."""
_SIDES = ("source.spm", "target.spm")
_SUPPORTED = (
    "what can be imported is Marian's `transformer`: relu or swish, sinusoidal positions, "
    "self-attention in the decoder, all layers pre-norm (n, da, n) or all post-norm (none, dan, "
    "none), no factors and no layers that share weights"
)
_PRE, _POST = ("n", "da", "n"), ("", "dan", "")
_Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""Reads every piece as a word, also `no` and `1.0`."""
_Layers = Annotated[int, Field(ge=1)]


def _key(name: str, default: Any) -> Any:
    return Field(default=default, alias=name)


class _Settings(BaseModel):
    """What is read of a model's settings; defaults are Marian's."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["transformer"]
    dim_emb: int = _key("dim-emb", 512)
    enc_depth: _Layers = _key("enc-depth", 6)
    dec_depth: _Layers = _key("dec-depth", 6)
    heads: int = _key("transformer-heads", 8)
    dim_ffn: int = _key("transformer-dim-ffn", 2048)
    decoder_dim_ffn: int = _key("transformer-decoder-dim-ffn", 0)
    ffn_depth: Literal[2] = _key("transformer-ffn-depth", 2)
    decoder_ffn_depth: Literal[0, 2] = _key("transformer-decoder-ffn-depth", 0)
    activation: Literal["relu", "swish"] = _key("transformer-ffn-activation", "swish")
    autoreg: Literal["self-attention"] = _key("transformer-decoder-autoreg", "self-attention")
    preprocess: str = _key("transformer-preprocess", "")
    postprocess: str = _key("transformer-postprocess", "dan")
    postprocess_top: str = _key("transformer-postprocess-top", "")
    postprocess_emb: Literal["", "d"] = _key("transformer-postprocess-emb", "d")
    no_projection: Literal[False] = _key("transformer-no-projection", False)
    trained_positions: Literal[False] = _key("transformer-train-position-embeddings", False)
    tied_layers: Annotated[list[int], Field(max_length=0)] = _key("transformer-tied-layers", [])
    tied_embeddings: bool = _key("tied-embeddings", False)
    tied_embeddings_all: bool = _key("tied-embeddings-all", False)
    tied_embeddings_src: bool = _key("tied-embeddings-src", False)
    lemma_dim_emb: Literal[0] = _key("lemma-dim-emb", 0)
    omits_bias: bool = _key("output-omit-bias", False)

    @property
    def wiring(self) -> tuple[str, str, str]:
        """Where its norms are."""
        return self.preprocess, self.postprocess, self.postprocess_top

    @property
    def ties(self) -> str:
        """What `ModelShape` calls the sharing of tables."""
        if self.tied_embeddings_all:
            return "all"
        return "decoder" if self.tied_embeddings else "none"


class MarianNpz(Source):
    """A folder with one model (`*.npz`) and its vocabularies.

    Either `source.spm`, `target.spm` and one `*vocab*.yml`, as OPUS-MT has them, or SentencePiece
    vocabularies of Marian's own: the same two, or a single `*.spm` for both languages.
    """

    kind = "Marian"
    has_tags = True

    @property
    def weights(self) -> Path:
        """The file of the model; raises ArtifactError unless there is one."""
        return self._only("*.npz", "model")

    @cached_property
    def arrays(self) -> Mapping[str, Any]:
        """The arrays of the file, read one by one."""
        try:
            opened: Mapping[str, Any] = np.load(self.weights, allow_pickle=False)
            _ = list(opened)
        except (*DAMAGED, TypeError):
            raise ArtifactError(f"{self.weights}: not a whole .npz file") from None
        if SETTINGS not in opened:
            raise ArtifactError(f"{self.weights}: not a model of Marian's: it has no {SETTINGS}")
        return opened

    @cached_property
    def settings(self) -> _Settings:
        """What the model says of itself."""
        try:
            text = self.arrays[SETTINGS].tobytes().rstrip(b"\0").decode()
            told = yaml.safe_load(text)
        except (*DAMAGED, yaml.YAMLError):
            raise ArtifactError(f"{self.weights}: its {SETTINGS} is damaged") from None
        try:
            said = validated(_Settings, told, f"{self.weights}: {SETTINGS}")
        except ConfigError as error:
            raise ConfigError(f"{error}; {_SUPPORTED}") from None
        if said.wiring not in (_PRE, _POST):
            words = ", ".join(word or "none" for word in said.wiring)
            raise ConfigError(f"{self.weights}: its layers are wired as {words}; {_SUPPORTED}")
        return said

    @property
    def config(self) -> ModelConfig:
        """See `Source.config`."""
        said, (source, target) = self.settings, self.vocabularies
        shape = {
            "encoder": self._stack(said.enc_depth, said.dim_ffn),
            "decoder": self._stack(said.dec_depth, said.decoder_dim_ffn or said.dim_ffn),
            "norm": "pre" if said.wiring == _PRE else "post",
            "activation": {"swish": "silu", "relu": "relu"}[said.activation],
            "tied_embeddings": said.ties,
            "output_bias": True,
            "source_vocabulary": len(source.rows),
            "target_vocabulary": len(target.rows),
        }
        return validated(ModelConfig, shape, str(self.weights))

    def _stack(self, layers: int, feed_forward: int) -> dict[str, int]:
        said = self.settings
        return {
            "layers": layers,
            "d_model": said.dim_emb,
            "heads": said.heads,
            "feed_forward": feed_forward,
        }

    @cached_property
    def vocabularies(self) -> tuple[Vocabulary, Vocabulary]:
        """The source's and the target's; the same, its tag apart, where they are joint."""
        if listed := self._listed:
            one = _vocabulary(_from_yaml(listed), listed)
            return replace(one, tag=chosen_tag(one.listed, self.into, listed)), one
        source, target = (
            _vocabulary(_from_sentencepiece(path), path) for path in self.sentencepiece
        )
        tag = chosen_tag(source.listed, self.into, self.sentencepiece[0])
        return replace(source, tag=tag), target

    @property
    def is_joint(self) -> bool:
        """See `Source.is_joint`."""
        source, target = self.vocabularies
        return source.listed == target.listed

    @property
    def _listed(self) -> Path | None:
        """The file that lists the pieces, where SentencePiece's models do not."""
        return self._only("*vocab*.yml", "vocabulary") if any(self._found("*vocab*.yml")) else None

    @property
    def sentencepiece(self) -> tuple[Path, Path]:
        """The SentencePiece models of both sides, perhaps one and the same."""
        source, target = (self.place / name for name in _SIDES)
        if source.is_file() and target.is_file():
            return source, target
        one = self._only("*.spm", "SentencePiece model")
        return one, one

    @property
    def files(self) -> dict[str, Path]:
        """See `Source.files`."""
        paths = [self.weights, *self.sentencepiece, *filter(None, [self._listed])]
        return {path.name: path for path in paths}

    def _found(self, pattern: str) -> list[Path]:
        return sorted(self.place.glob(pattern))

    def _only(self, pattern: str, what: str) -> Path:
        found = self._found(pattern)
        if len(found) != 1:
            names = ", ".join(path.name for path in found) or "none"
            raise ArtifactError(
                f"{self.place}: which {what}? There is to be one {pattern}, and there is {names}"
            )
        return found[0]


def _from_yaml(path: Path) -> tuple[str, ...]:
    try:
        tree = yaml.load(path.read_text("utf-8"), _Loader)
        ids = {piece: int(index) for piece, index in tree.items()}
    except (UnicodeDecodeError, yaml.YAMLError, AttributeError, TypeError, ValueError):
        raise ArtifactError(f"{path}: damaged: not a mapping from pieces to numbers") from None
    return in_order_of_ids(ids, path)


def _from_sentencepiece(path: Path) -> tuple[str, ...]:
    try:
        model = spm.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError):
        raise ArtifactError(f"{path}: not a whole SentencePiece model") from None
    return tuple(model.id_to_piece(index) for index in range(model.get_piece_size()))


def _vocabulary(listed: tuple[str, ...], path: Path) -> Vocabulary:
    """Return pieces with the ids of the end and of the unknown; a decoder starts from nothing."""
    eos, unk = id_of("</s>", listed, path), id_of("<unk>", listed, path)
    return Vocabulary(listed, unk=unk, eos=eos, start=None, pad=None)
