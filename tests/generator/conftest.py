from collections.abc import Callable
from typing import Any

import pytest
import torch

from wd.config import GeneratorConfig, ModelConfig, StackOverride, StackShape, StudentShape
from wd.generator.generator import ParameterGenerator
from wd.model.transformer import Transformer

STACK = StackShape(layers=6, d_model=16, heads=4, feed_forward=24)
STUDENTS = {
    "tiny": StudentShape(decoder=StackOverride(layers=1, d_model=8, feed_forward=12)),
    "small": StudentShape(decoder=StackOverride(layers=2)),
    "uneven": StudentShape(decoder=StackOverride(layers=4, heads=2)),
    "both": StudentShape(
        encoder=StackOverride(layers=3, d_model=12), decoder=StackOverride(layers=5, d_model=24)
    ),
    "thin": StudentShape(encoder=StackOverride(d_model=8), decoder=StackOverride(feed_forward=12)),
    "same": StudentShape(),
}


@pytest.fixture(scope="session")
def teacher_config() -> Callable[..., ModelConfig]:
    """Return a function from changes to a small teacher's config."""

    def make(**changes: Any) -> ModelConfig:
        vocabularies = {"source_vocabulary": 20, "target_vocabulary": 20}
        return ModelConfig.model_validate(
            {"encoder": STACK, "decoder": STACK, "norm": "pre", **vocabularies, **changes}
        )

    return make


@pytest.fixture(scope="session")
def build(teacher_config: Callable[..., ModelConfig]) -> Callable[..., ParameterGenerator]:
    """Return a function that builds the generator of a named student on a random teacher."""

    def make(
        student: str, grouping: dict[str, Any] | None = None, **start: Any
    ) -> ParameterGenerator:
        torch.manual_seed(1)
        teacher = teacher_config(**start.pop("teacher", {}))
        model = Transformer(teacher)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter += 0.1 * torch.randn_like(parameter)
        config = GeneratorConfig.model_validate(
            {"grouping": grouping or {}, "initialisation": start}
        )
        shape = STUDENTS[student].of(teacher)
        return ParameterGenerator(teacher, shape, model.state_dict(), config)

    return make


@pytest.fixture(scope="session", params=STUDENTS)
def student(request: pytest.FixtureRequest) -> str:
    """Every student's name."""
    return str(request.param)
