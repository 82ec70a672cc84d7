"""A model from elsewhere, as one of ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from wd.config import ModelConfig
from wd.model.directory import TOKENIZER, load_model, write_model


@dataclass(frozen=True)
class Teacher:
    """A model in our names, shapes and ids."""

    config: ModelConfig
    weights: Mapping[str, Tensor]
    sentencepiece: tuple[bytes, bytes]
    """The models of the source and of the target."""
    tensors: int
    """How many the source holds; each is in `weights`, or says what the config says."""

    def write(self, folder: Path) -> None:
        """Write a model directory; raises ArtifactError if what was read is no whole model."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, model in zip(TOKENIZER, self.sentencepiece, strict=True):
            (folder / name).write_bytes(model)
        write_model(folder, self.config, self.weights)
        load_model(folder)
