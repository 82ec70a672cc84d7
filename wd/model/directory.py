"""Model directories: `config.json`, `model.safetensors`, the tokenizer. Nothing is unpickled."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from wd.config import ModelConfig, validated
from wd.data.tokenizer import SOURCE_MODEL, TARGET_MODEL
from wd.errors import ArtifactError, ConfigError
from wd.files import parse_json, read_small
from wd.model.sizes import tensor_shapes
from wd.model.transformer import Transformer

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
TOKENIZER = (SOURCE_MODEL, TARGET_MODEL)


def save_weights(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write named tensors to a safetensors file."""
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, path)


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; raises ArtifactError if it is missing, truncated or damaged."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtifactError(
            f"{path}: not a whole safetensors file ({error}); remove its folder and run the "
            "stage that makes it again"
        ) from None


def save_model(
    folder: Path, config: ModelConfig, state: Mapping[str, Tensor], tokenizer: Path
) -> None:
    """Write a model directory; `tokenizer` is a folder with the two SentencePiece models."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER:
        shutil.copyfile(tokenizer / name, folder / name)
    write_model(folder, config, state)


def write_model(folder: Path, config: ModelConfig, state: Mapping[str, Tensor]) -> None:
    """Write a model's weights and config into its directory."""
    save_weights(folder / WEIGHTS, state)
    (folder / CONFIG).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")


def load_model(folder: Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Return a model directory's config and weights (float32, on the CPU).

    Raises ArtifactError if something is missing, damaged, not of the config's shape, or no finite
    floating-point number.
    """
    config = load_config(folder)
    state = load_weights(folder / WEIGHTS)
    _check_shapes(config, state, folder / WEIGHTS)
    return config, _finite_float32(state, folder / WEIGHTS)


def load_transformer(folder: Path, dropout: float = 0.0) -> Transformer:
    """Return the model of a directory, in evaluation mode."""
    config, state = load_model(folder)
    model = Transformer(config, dropout)
    model.load_state_dict(state)
    return model.eval()


def load_config(folder: Path) -> ModelConfig:
    """Return a model directory's config; raises ArtifactError if there is none, or for damage."""
    path = folder / CONFIG
    try:
        return validated(ModelConfig, parse_json(read_small(path)), str(path))
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(f"{folder}: not a model directory (it has no {CONFIG})") from None
    except ValueError as error:
        raise ArtifactError(f"{path}: damaged: {error}") from None
    except ConfigError as error:
        raise ArtifactError(f"{error}; was it written by another version?") from None


def _check_shapes(config: ModelConfig, state: Mapping[str, Tensor], path: Path) -> None:
    expected = tensor_shapes(config)
    for name in sorted(expected.keys() | state.keys()):
        found = tuple(state[name].shape) if name in state else None
        if found != expected.get(name):
            raise ArtifactError(
                f"{path}: {name} has shape {found}, the config says {expected.get(name)}"
            )


def _finite_float32(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    converted = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ArtifactError(
                f"{path}: {name} has {kind} values, which are no weights; take another copy of the "
                "model"
            )
        converted[name] = tensor.float()
        if broken := int((~converted[name].isfinite()).sum()):
            raise ArtifactError(
                f"{path}: {name} has {broken} of {tensor.numel()} values that are not finite; the "
                "model cannot be used: take another copy, or train it again"
            )
    return converted
