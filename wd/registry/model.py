"""The registered student as MLflow runs it (models-from-code: MLflow executes this file).

`predict` takes lines of source text and returns their translations. Decoding settings come with
the model and can be replaced per call by `params`.
"""

from pathlib import Path
from typing import Any

import mlflow.models
import mlflow.pyfunc

from wd.config import HALF_PRECISION, DecodingConfig, validated
from wd.decoding.engine import Translator


class TranslationModel(mlflow.pyfunc.PythonModel):
    """Lines in, lines out."""

    def load_context(self, context: Any) -> None:
        """Load the model directory that was registered."""
        self.settings = DecodingConfig.model_validate(context.model_config)
        quantization = self.settings.quantization
        if quantization in HALF_PRECISION:
            quantization = "auto"  # here it runs on a CPU, wherever it was evaluated
        folder = Path(context.artifacts["model"])
        self.translator = Translator.from_directory(folder, quantization=quantization)

    def predict(
        self, context: Any, model_input: list[str], params: dict[str, Any] | None = None
    ) -> list[str]:
        """Translate each line; `params` replace decoding settings, `beam_size` for one."""
        settings = self.settings.model_dump() | (params or {})
        checked = validated(DecodingConfig, settings, "params")
        return [found.text for found in self.translator.translate(model_input, checked)]


mlflow.models.set_model(TranslationModel())
