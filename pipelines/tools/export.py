"""Turn a model into what another program can run."""

from pathlib import Path

from pipelines.tools.model_folder import model_folder
from wd.config import Quantization
from wd.errors import ConfigError

FORMATS = ("ctranslate2", "hf")


def export(
    model: str,
    out: Path,
    *,
    format: str = "ctranslate2",  # noqa: A002 - the option's name
    quantization: Quantization = "float32",
    root: str = "artifacts",
) -> None:
    """Write `model` to the new folder `out`.

    Raises ConfigError for an unknown format and for what it cannot hold, ArtifactError for a model
    that does not exist or is damaged, and where `out` exists already.
    """
    if format not in FORMATS:
        raise ConfigError(f"format {format}: not known; use {' or '.join(FORMATS)}")
    if format == "ctranslate2":
        from wd.interop.ctranslate2 import export_ctranslate2

        return export_ctranslate2(model_folder(model, root), out, quantization)
    if quantization != "float32":
        raise ConfigError(f"quantization {quantization}: format hf holds float32; leave it out")
    from wd.interop.marian_hf_export import export_marian_hf

    export_marian_hf(model_folder(model, root), out)
