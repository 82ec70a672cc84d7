"""A trained generator on disk: its weights, and the name of the teacher that it was built on."""

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from wd.config import GeneratorConfig, ModelConfig, validated
from wd.errors import ArtifactError
from wd.generator.generator import ParameterGenerator
from wd.model.directory import load_model, load_weights, save_weights

DESCRIPTION = "generator.json"
WEIGHTS = "generator.safetensors"


def save_generator(
    folder: Path,
    state: Mapping[str, Tensor],
    student: ModelConfig,
    config: GeneratorConfig,
    teacher: str,
) -> None:
    """Write a generator's state dict, its student's shape and its teacher's artifact name."""
    save_weights(folder / WEIGHTS, state)
    description = {
        "teacher": teacher,
        "student": student.model_dump(mode="json"),
        "config": config.model_dump(mode="json"),
    }
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def load_generator(folder: Path, teacher: Path) -> ParameterGenerator:
    """Rebuild a generator on its teacher's model directory.

    Raises ArtifactError if a file is missing or damaged, or if `teacher` is another model.
    """
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(f"{folder}: not a generator (it has no {DESCRIPTION})") from None
    except ValueError as error:
        raise ArtifactError(f"{folder / DESCRIPTION}: damaged: {error}") from None
    if not teacher.as_posix().endswith(description["teacher"]):
        raise ArtifactError(
            f"{folder}: made from teacher {description['teacher']}, not from {teacher}"
        )
    where = str(folder / DESCRIPTION)
    config, weights = load_model(teacher)
    student = validated(ModelConfig, description["student"], where)
    generator = ParameterGenerator(
        config, student, weights, validated(GeneratorConfig, description["config"], where)
    )
    generator.load_state_dict(load_weights(folder / WEIGHTS))
    return generator
