"""What a model can be imported from, as far as it is read before anything is made of it."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from wd.config import ModelConfig
from wd.manifest import digests

VERSION = 1
"""Raise it when the same bytes would be imported otherwise."""


class Source(ABC):
    """A folder that holds a model of some project."""

    kind: str
    """What a user calls it."""
    has_tags = False
    """Whether there are models of this kind whose source begins with the target language's tag."""

    def __init__(self, place: Path, into: str | None = None) -> None:
        self.place = place
        self.into = into
        """The target language, of a model that has several."""

    @property
    @abstractmethod
    def files(self) -> dict[str, Path]:
        """What the import reads, and nothing else, by the files' names.

        Raises ArtifactError if one is missing.
        """

    @property
    @abstractmethod
    def config(self) -> ModelConfig:
        """The model's shape and vocabularies; no weights are looked at.

        Raises ConfigError, which says what can be imported, for a shape that cannot be.
        """

    @property
    @abstractmethod
    def is_joint(self) -> bool:
        """Whether both languages have one vocabulary."""

    @property
    def identity(self) -> dict[str, Any]:
        """What an import is a function of: the source's kind, its bytes, and which language."""
        files = self.files
        sums = dict(zip(files, digests(files.values()), strict=True))
        into = {} if self.into is None else {"into": self.into}
        return {"imported": self.kind, "sha256": sums, **into}
