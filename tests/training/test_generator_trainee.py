"""Phase 1 trains what is to be trained, and nothing else."""

import pytest
import torch

from wd.config import (
    GeneratorConfig,
    ModelConfig,
    StackOverride,
    StackShape,
    StudentShape,
    TrainingConfig,
)
from wd.data.batches import Batch
from wd.generator.generator import ParameterGenerator
from wd.model.transformer import Transformer
from wd.training.generator_trainee import GeneratorTrainee
from wd.training.objective import Objective
from wd.training.world import World

STACK = StackShape(layers=2, d_model=16, heads=2, feed_forward=32)
TEACHER = ModelConfig(encoder=STACK, decoder=STACK, source_vocabulary=30, target_vocabulary=30)
STUDENT = StudentShape(decoder=StackOverride(layers=1, d_model=8)).of(TEACHER)


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_frozen_encoder_stays_the_teacher_s(batches: int, precision: str) -> None:
    torch.manual_seed(1)
    weights = Transformer(TEACHER).state_dict()
    config = GeneratorConfig.model_validate({"grouping": {"encoder": "frozen"}})
    generator = ParameterGenerator(TEACHER, STUDENT, weights, config)
    start = {name: each.clone() for name, each in generator.published().items()}
    training = TrainingConfig(precision=precision, ema_decay=0.5, weight_decay=0.1, dropout=0)
    trainee = GeneratorTrainee(generator, training, Objective(0.1), World())
    read = [Batch(*torch.randint(4, 30, (3, 2, 5))) for _ in range(batches)]
    for update in (1, 2, 3):
        trainee.backward(read, 1.0)
        trainee.step(update)
    with trainee.averaged():
        made = trainee.published()
    for name, weight in made.items():
        is_kept = name.startswith(("encoder.", "source_embedding."))
        assert torch.equal(weight, start[name]) == is_kept, name
        if is_kept:
            torch.testing.assert_close(weight, weights[name], rtol=1e-6, atol=1e-7)
