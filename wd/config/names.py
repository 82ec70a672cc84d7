"""Names that become folders, registered models and aliases: which are possible."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

_MOST_BYTES = 100
"""Of a name in UTF-8; a folder's name holds two of them and a hash, and has room for 255."""
_NAME = r'^[^\s./\\:@?"\x00-\x1f\x7f]([^/\\:@?"\x00-\x1f\x7f]*[^\s/\\:@?"\x00-\x1f\x7f])?$'
_MODEL = r'^[^\s/:@?"\x00-\x1f\x7f]([^/:@?"\x00-\x1f\x7f]*[^\s/:@?"\x00-\x1f\x7f])?$'
_ALIAS = "^[A-Za-z][A-Za-z0-9_-]*$"


def check_name(name: Any) -> Any:
    """Raise ValueError for what cannot be a part of a folder's and a registered model's name."""
    if isinstance(name, str) and not re.fullmatch(_NAME, name):
        raise ValueError(
            'a name holds no / \\ : @ ? " and no control characters, begins with no dot, and has '
            "no space at its ends"
        )
    return _not_too_long(name)


def check_model(name: Any) -> Any:
    """Raise ValueError for what MLflow cannot register, or could not find again by its address."""
    if isinstance(name, str) and (name in (".", "..") or not re.fullmatch(_MODEL, name)):
        raise ValueError(
            "a model's name holds no / : @ ? \" and no control characters, is not . or .., and has "
            "no space at its ends"
        )
    return _not_too_long(name, 2 * _MOST_BYTES + 1)


def check_alias(alias: Any) -> Any:
    """Raise ValueError for an alias that MLflow refuses, or that it gives to versions by itself.

    `latest` is the newest version, promoted or not, and `v2` is version 2.
    """
    if isinstance(alias, str):
        if not re.fullmatch(_ALIAS, alias):
            raise ValueError("an alias is a letter, then letters, digits, _ and -")
        if alias.lower() == "latest" or re.fullmatch(r"[vV]\d+", alias):
            raise ValueError(
                f"MLflow keeps {alias} for itself: it always names a version by its age or number, "
                "whatever was promoted; choose another alias"
            )
    return _not_too_long(alias)


def _not_too_long(name: Any, most: int = _MOST_BYTES) -> Any:
    if isinstance(name, str) and (size := len(name.encode("utf-8", "surrogatepass"))) > most:
        raise ValueError(f"{size} bytes are too long for a name, {most} are possible")
    return name


def _each_names_files(sets: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    for name, files in sets.items():
        if not files:
            raise ValueError(f"{name} names no files; name some, or leave it out")
    return sets


Name = Annotated[str, Field(pattern=_NAME, max_length=_MOST_BYTES), BeforeValidator(check_name)]
"""Part of the names of folders and of registered models."""
TestSets = Annotated[dict[Name, tuple[str, ...]], AfterValidator(_each_names_files)]
"""Test sets, each with its files."""
ModelName = Annotated[str, Field(pattern=_MODEL), BeforeValidator(check_model)]
"""Of a registered model."""
Alias = Annotated[str, Field(pattern=_ALIAS), BeforeValidator(check_alias)]
"""Of a registered model's version."""
