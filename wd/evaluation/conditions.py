"""Under which conditions systems are compared: the text, the decoding, the machine."""

from pathlib import Path
from typing import Self

from pydantic import ValidationError

from wd.config import Config, EvaluationConfig
from wd.errors import ArtifactError
from wd.evaluation.origin import Origin


class Conditions(Config):
    """What all systems of a comparison have in common; a report adds the systems."""

    title: str
    source_language: str
    target_language: str
    sentences: int
    decoding: EvaluationConfig
    device: str
    threads: int
    origin: Origin

    @property
    def heading(self) -> str:
        """What was compared on what."""
        return (
            f"{self.title}: {self.source_language}-{self.target_language}, "
            f"{self.sentences:,} test sentences"
        )

    @property
    def settings(self) -> str:
        """How it was translated, and on what."""
        decoding = self.decoding
        return (
            f"beam {decoding.beam_size}, {decoding.quantization}, {self.device}, "
            f"{self.threads} threads"
        )

    @classmethod
    def read(cls, path: Path, command: str) -> Self:
        """Read JSON; raises ArtifactError, which names `command`, for an absent or damaged file."""
        kind = cls.__name__.lower()
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise ArtifactError(f"{path}: no such {kind}; make it with `{command}`") from None
        except (ValidationError, UnicodeDecodeError) as error:
            raise ArtifactError(f"{path}: not a {kind}: {error}") from None
