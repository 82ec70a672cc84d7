from pathlib import Path

import pytest
import torch

from wd.config import GeneratorConfig, ModelConfig, StackOverride, StudentShape
from wd.errors import ArtifactError
from wd.generator.directory import load_generator, save_generator
from wd.generator.generator import ParameterGenerator
from wd.model.directory import load_model, save_weights


@pytest.fixture
def saved(tmp_path: Path, model_folder: Path) -> tuple[Path, Path, ParameterGenerator]:
    teacher, weights = load_model(model_folder)
    student: ModelConfig = StudentShape(decoder=StackOverride(layers=1, d_model=16)).of(teacher)
    generator = ParameterGenerator(teacher, student, weights, GeneratorConfig())
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter += torch.randn_like(parameter)
    folder = tmp_path / "generator"
    folder.mkdir()
    save_generator(folder, generator.state_dict(), student, GeneratorConfig(), model_folder.name)
    return folder, model_folder, generator


def test_round_trip(saved: tuple[Path, Path, ParameterGenerator]) -> None:
    folder, teacher, generator = saved
    loaded = load_generator(folder, teacher)
    for name, weight in generator.materialize().items():
        assert torch.equal(loaded.materialize()[name], weight)


def test_another_teacher_is_refused(saved: tuple[Path, Path, ParameterGenerator]) -> None:
    folder, teacher, _ = saved
    other = teacher.with_name("other")
    teacher.rename(other)
    with pytest.raises(ArtifactError, match="made from teacher model, not from"):
        load_generator(folder, other)


def test_a_way_round_leads_to_the_same_teacher(
    saved: tuple[Path, Path, ParameterGenerator], tmp_path: Path
) -> None:
    folder, teacher, _ = saved
    link = tmp_path / "link"
    link.symlink_to(teacher)
    for path in (link, teacher / ".." / teacher.name):
        load_generator(folder, path)


def test_other_weights_are_told(saved: tuple[Path, Path, ParameterGenerator]) -> None:
    folder, teacher, generator = saved
    save_weights(folder / "generator.safetensors", dict(list(generator.state_dict().items())[1:]))
    with pytest.raises(ArtifactError, match="not this generator's weights: Missing key"):
        load_generator(folder, teacher)


def test_a_truncated_file_is_told(saved: tuple[Path, Path, ParameterGenerator]) -> None:
    folder, teacher, _ = saved
    weights = folder / "generator.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(ArtifactError, match="not a whole safetensors file"):
        load_generator(folder, teacher)
