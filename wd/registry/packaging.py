"""A student as an MLflow pyfunc model that loads where this project is not installed.

It holds the model directory (for `wd translate`, `wd export` and whoever trains on), the same
model for CTranslate2, the evaluation that the gate compares by, and one file of code.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from wd.config import HALF_PRECISION, DecodingConfig
from wd.interop.ctranslate2 import export_ctranslate2
from wd.registry.evidence import Evidence, write_evidence

PACKAGING = "2"
"""What a version is made like; a version of another kind is registered anew."""
MODEL, ENGINE, EVALUATION = "model", "engine", "evaluation"
"""The folders below a version's `artifacts`."""
_CODE = Path(__file__).with_name("model.py")
_REQUIREMENTS = ("mlflow", "ctranslate2", "sentencepiece")


def log_model(
    uri: str, folder: Path, run_id: str, decoding: DecodingConfig, evidence: Evidence
) -> str:
    """Store a student with a run; return the logged model's address."""
    import mlflow

    with (
        default_uri(uri),
        _packed(folder, decoding, evidence) as arguments,
        mlflow.start_run(run_id=run_id, nested=True),
    ):
        return str(mlflow.pyfunc.log_model(name="student", **arguments).model_uri)


@contextmanager
def saved_model(folder: Path, decoding: DecodingConfig, evidence: Evidence) -> Iterator[str]:
    """Yield the folder of a version that is not registered, for a look before it is."""
    import mlflow

    with (
        _packed(folder, decoding, evidence) as arguments,
        tempfile.TemporaryDirectory(prefix="wd-registry-") as scratch,
    ):
        mlflow.pyfunc.save_model(f"{scratch}/model", **arguments)
        yield f"{scratch}/model"


@contextmanager
def default_uri(uri: str) -> Iterator[None]:
    """Let MLflow's module-level functions use this address for a while."""
    import mlflow

    names = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
    before = {name: os.environ.get(name) for name in names}  # the setters set these, too
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def requirements() -> list[str]:
    """Return what a version needs: public versions, from any package index."""
    # A local label, as of torch's own index, is what no other index has.
    return [f"{each}=={metadata.version(each).partition('+')[0]}" for each in _REQUIREMENTS]


def portable_settings(decoding: DecodingConfig) -> dict[str, Any]:
    """Return the settings that a version decodes with: on a CPU, wherever it was evaluated."""
    if decoding.quantization in HALF_PRECISION:
        decoding = decoding.model_copy(update={"quantization": "auto"})
    # By name: an evaluation has settings of its own besides.
    return decoding.on("cpu").model_dump(include=set(DecodingConfig.model_fields))


@contextmanager
def _packed(folder: Path, decoding: DecodingConfig, evidence: Evidence) -> Iterator[dict[str, Any]]:
    """Yield what MLflow wants to be told of a version.

    All of it is in one folder of copies: MLflow records the paths that it is given, and they tell.
    """
    settings = portable_settings(decoding)
    params = {key: value for key, value in settings.items() if key != "quantization"}
    with tempfile.TemporaryDirectory(prefix="wd-registry-") as name:
        scratch = Path(name)
        shutil.copytree(folder, scratch / MODEL, copy_function=_link)
        shutil.copyfile(_CODE, scratch / _CODE.name)
        export_ctranslate2(folder, scratch / ENGINE, settings["quantization"])
        size = (scratch / ENGINE / "model.bin").stat().st_size / 1e6
        write_evidence(evidence.model_copy(update={"megabytes": size}), scratch / EVALUATION)
        yield {
            "python_model": str(scratch / _CODE.name),
            "artifacts": {each: str(scratch / each) for each in (MODEL, ENGINE, EVALUATION)},
            "model_config": settings,
            "pip_requirements": requirements(),
            "input_example": (["A sentence."], params),
        }


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
