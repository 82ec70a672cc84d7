"""A model that is brought along: where it is, and what a recipe has from it."""

from typing import Any

from pipelines.tools.model_folder import model_folder
from wd.config import ModelShape
from wd.interop.recognition import source_of
from wd.interop.source import Source


def brought(model: str, root: str) -> Source:
    """Return what a folder, an artifact's name or `models:/NAME@ALIAS` holds.

    Raises a UserError if there is no such model, or none that can be imported.
    """
    return source_of(model_folder(model, root))


def brought_along(model: str, root: str) -> dict[str, Any]:
    """Return the parts of a recipe that come with the model that `teacher.from` names."""
    source = brought(model, root)
    config = source.config
    tokenizer = {
        "vocabulary_size": config.source_vocabulary,
        "target_vocabulary_size": None if source.is_joint else config.target_vocabulary,
        "joint": source.is_joint,
        "byte_fallback": False,  # it has what it has
    }
    shape = config.model_dump(mode="json", include=set(ModelShape.model_fields))
    return {"teacher.shape": shape, "tokenizer": tokenizer}
