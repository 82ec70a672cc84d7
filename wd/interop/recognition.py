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


def source_of(place: Path) -> Source:
    """Return what lies in a place; its weights are not read yet.

    Raises ConfigError, which says what can be imported, if it is nothing of that.
    """
    config = place / "config.json"
    if not config.exists() and any(place.glob("*.pt")):
        return Fairseq(place)
    if not config.exists() and any(place.glob("*.npz")):
        return MarianNpz(place)
    if not config.is_file():
        raise ConfigError(f"{place}: no model that can be imported, which is {KINDS}")
    try:
        tree = parse_json(read_small(config, _MOST_BYTES))
    except ValueError as error:
        raise ArtifactError(f"{config}: damaged: {error}") from None
    kind = tree.get("model_type") if isinstance(tree, dict) else None
    if kind is None:
        return ModelDirectory(place)
    if kind != "marian":
        raise ConfigError(
            f"{config}: a model of type {kind} cannot be imported; what can be is {KINDS}"
        )
    return MarianHf(place)
