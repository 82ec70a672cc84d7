"""Which kind of model lies in a place."""

from pathlib import Path

from wd.errors import ArtifactError, ConfigError
from wd.files import parse_json, read_small
from wd.interop.fairseq import Fairseq
from wd.interop.marian_hf import MarianHf
from wd.interop.marian_npz import MarianNpz
from wd.interop.model_directory import ModelDirectory
from wd.interop.source import Source

_MOST_BYTES = 1_000_000
KINDS = "a folder of Hugging Face's MarianMT, of fairseq or of Marian, or a model directory of ours"
_BY_WEIGHTS: dict[str, type[Source]] = {"*.pt": Fairseq, "*.npz": MarianNpz}
"""What is known by its weights, since it has no `config.json`."""


def source_of(place: Path, into: str | None = None) -> Source:
    """Return what lies in a place; its weights are not read yet.

    `into` is the target language of a model that has several. Raises ConfigError, which says what
    can be imported, if it is nothing of that.
    """
    kind = _kind_of(place)
    if into is not None and not kind.has_tags:
        raise ConfigError(
            f"{place}: a {kind.kind} is into one language only: leave out into ({into})"
        )
    return kind(place, into)


def _kind_of(place: Path) -> type[Source]:
    config = place / "config.json"
    if not config.exists():
        for pattern, kind in _BY_WEIGHTS.items():
            if any(place.glob(pattern)):
                return kind
        raise ConfigError(f"{place}: no model that can be imported, which is {KINDS}")
    try:
        tree = parse_json(read_small(config, _MOST_BYTES))
    except ValueError as error:
        raise ArtifactError(f"{config}: damaged: {error}") from None
    architecture = tree.get("model_type") if isinstance(tree, dict) else None
    if architecture is None:
        return ModelDirectory
    if architecture != "marian":
        raise ConfigError(
            f"{config}: a model of type {architecture} cannot be imported; what can be is {KINDS}"
        )
    return MarianHf
