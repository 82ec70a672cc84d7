"""A model directory of ours as a source: a teacher, or a student that is to have students."""

from functools import cached_property
from pathlib import Path

from wd.config import ModelConfig, validated
from wd.data.tokenizer import SOURCE_MODEL, TARGET_MODEL, Tokenizer
from wd.errors import ArtifactError, ConfigError
from wd.files import parse_json, read_small
from wd.interop.source import Source

CONFIG, WEIGHTS = "config.json", "model.safetensors"


class ModelDirectory(Source):
    """What `wd run`, `wd import` and the registry have written."""

    kind = "model directory"

    @cached_property
    def config(self) -> ModelConfig:
        """See `Source.config`."""
        path = self.place / CONFIG
        try:
            return validated(ModelConfig, parse_json(read_small(path)), str(path))
        except ValueError as error:
            raise ArtifactError(f"{path}: damaged: {error}") from None
        except ConfigError as error:
            raise ArtifactError(f"{error}; was it written by another version?") from None

    @property
    def is_joint(self) -> bool:
        """See `Source.is_joint`."""
        tokenizer = Tokenizer.load(self.place)
        return tokenizer.source_pieces == tokenizer.target_pieces

    @property
    def files(self) -> dict[str, Path]:
        """See `Source.files`."""
        names = (CONFIG, WEIGHTS, SOURCE_MODEL, TARGET_MODEL)
        for name in names:
            if not (self.place / name).is_file():
                raise ArtifactError(f"{self.place}: not a whole model directory: no {name}")
        return {name: self.place / name for name in names}
