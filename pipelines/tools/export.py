"""Turn a model into what another program can run."""

from pathlib import Path

from pipelines.tools.model_folder import model_folder
from wd.errors import ConfigError
from wd.model.sizes import Quantization

FORMATS = ("ctranslate2",)


def export(
    model: str,
    out: Path,
    *,
    format: str = "ctranslate2",  # noqa: A002 - the option's name
    quantization: Quantization = "float32",
    root: str = "artifacts",
) -> None:
    """Write `model` to the new folder `out`.

    Raises ConfigError for an unknown format, ArtifactError for a model that does not exist or is
    damaged, and where `out` exists already.
    """
    if format not in FORMATS:
        raise ConfigError(f"format {format}: not known; use {' or '.join(FORMATS)}")
    from wd.interop.ctranslate2 import export_ctranslate2

    export_ctranslate2(model_folder(model, root), out, quantization)
