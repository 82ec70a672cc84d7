"""A student as an MLflow pyfunc model: our code, its model directory, nothing pickled."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import wd
from wd.config import DecodingConfig

_CODE = Path(__file__).with_name("model.py")
_REQUIREMENTS = (
    *("mlflow", "torch", "ctranslate2", "sentencepiece", "safetensors", "pydantic"),
    "langcodes",
)


def log_model(uri: str, folder: Path, run_id: str, decoding: DecodingConfig) -> str:
    """Store a model directory with a run and return the logged model's address."""
    import mlflow

    # By name: an evaluation has settings of its own besides.
    settings = decoding.on("cpu").model_dump(include=set(DecodingConfig.model_fields))
    params = {key: value for key, value in settings.items() if key != "quantization"}
    with (
        default_uri(uri),
        _anonymous(folder) as scratch,
        mlflow.start_run(run_id=run_id, nested=True),
    ):
        model = mlflow.pyfunc.log_model(
            name="student",
            python_model=str(scratch / _CODE.name),
            artifacts={"model": str(scratch / "model")},
            model_config=settings,
            pip_requirements=_requirements(),
            input_example=(["A sentence."], params),
        )
    return str(model.model_uri)


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


def _requirements() -> list[str]:
    pinned = [f"{package}=={metadata.version(package)}" for package in _REQUIREMENTS]
    return [f"weight-distillation=={wd.__version__}", *pinned]


@contextmanager
def _anonymous(folder: Path) -> Iterator[Path]:
    """Yield a folder with copies: MLflow records the paths that it is given, and they tell."""
    with tempfile.TemporaryDirectory(prefix="wd-registry-") as scratch:
        shutil.copytree(folder, Path(scratch, "model"), copy_function=_link)
        shutil.copyfile(_CODE, Path(scratch, _CODE.name))
        yield Path(scratch)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
