"""A model that is brought along: where it is, and what a recipe has from it."""

from typing import Any

from pipelines.tools.model_folder import model_folder
from wd.config import NOT_TRACKED, ModelShape, Wanted
from wd.interop.recognition import source_of
from wd.interop.source import Source


def brought(wanted: Wanted) -> Source:
    """Return what a folder, an artifact's name or address, or `models:/NAME@ALIAS` holds.

    Raises a UserError if there is no such model, or none that can be imported.
    """
    registry = None if wanted.tracking == NOT_TRACKED else wanted.tracking
    return source_of(model_folder(wanted.source, wanted.root, registry), wanted.into)


def brought_along(wanted: Wanted) -> dict[str, Any]:
    """Return the parts of a recipe that come with the model that `teacher.from` names."""
    source = brought(wanted)
    config = source.config
    tokenizer = {
        "vocabulary_size": config.source_vocabulary,
        "target_vocabulary_size": None if source.is_joint else config.target_vocabulary,
        "joint": source.is_joint,
        "byte_fallback": False,  # it has what it has
    }
    shape = config.model_dump(mode="json", include=set(ModelShape.model_fields))
    return {"teacher.shape": shape, "tokenizer": tokenizer}
