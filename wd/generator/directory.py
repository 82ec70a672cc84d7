"""A trained generator on disk: its weights, and the name of the teacher that it was built on."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from wd.config import Config, GeneratorConfig, ModelConfig, validated
from wd.errors import ArtifactError, ConfigError
from wd.files import parse_json, read_small
from wd.generator.generator import ParameterGenerator
from wd.model.directory import load_model, load_weights, save_weights

DESCRIPTION = "generator.json"
WEIGHTS = "generator.safetensors"


class Description(Config):
    """What a generator is built from."""

    teacher: str
    """`stage/label-hash`: the end of the teacher's path."""
    student: ModelConfig
    config: GeneratorConfig


def save_generator(
    folder: Path,
    state: Mapping[str, Tensor],
    student: ModelConfig,
    config: GeneratorConfig,
    teacher: str,
) -> None:
    """Write a generator's state dict, its student's shape and its teacher's artifact name."""
    save_weights(folder / WEIGHTS, state)
    description = Description(teacher=teacher, student=student, config=config)
    (folder / DESCRIPTION).write_text(description.model_dump_json(indent=2) + "\n", "utf-8")


def load_generator(folder: Path, teacher: Path) -> ParameterGenerator:
    """Rebuild a generator on its teacher's model directory.

    Raises ArtifactError if a file is missing or damaged, or if `teacher` is another model.
    """
    try:
        tree = parse_json(read_small(folder / DESCRIPTION))
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(f"{folder}: not a generator (it has no {DESCRIPTION})") from None
    except ValueError as error:
        raise ArtifactError(f"{folder / DESCRIPTION}: damaged: {error}") from None
    try:
        description = validated(Description, tree, str(folder / DESCRIPTION))
    except ConfigError as error:
        raise ArtifactError(f"{error}; was it written by another version?") from None
    made_from = Path(description.teacher).parts
    paths = teacher.absolute(), teacher.resolve()  # links may lead to it, or its path pass some
    if all(path.parts[-len(made_from) :] != made_from for path in paths):
        raise ArtifactError(
            f"{folder}: made from teacher {description.teacher}, not from {teacher}"
        )
    config, weights = load_model(teacher)
    generator = ParameterGenerator(config, description.student, weights, description.config)
    try:
        generator.load_state_dict(load_weights(folder / WEIGHTS))
    except RuntimeError as error:
        why = str(error).splitlines()[-1].strip()
        raise ArtifactError(f"{folder / WEIGHTS}: not this generator's weights: {why}") from None
    return generator
