"""Train with this package: the parts that `wd.training.loop.train` is made of."""

import torch
from protocol import (
    ADAM_BETAS,
    DROPOUT,
    LABEL_SMOOTHING,
    LEARNING_RATE,
    Batch,
    Job,
    Step,
    serve,
)
from torch import Tensor, nn

from wd.config import ModelConfig, TrainingConfig
from wd.data import batches
from wd.model.transformer import Transformer
from wd.training.objective import Objective
from wd.training.trainee import ModelTrainee
from wd.training.world import World


def build(job: Job) -> tuple[nn.Module, Step]:
    """See `protocol.Build`."""
    config = TrainingConfig(
        learning_rate=LEARNING_RATE,
        initial_learning_rate=LEARNING_RATE,
        adam_betas=ADAM_BETAS,
        label_smoothing=LABEL_SMOOTHING,
        dropout=DROPOUT,
        precision="bfloat16" if job.device == "cuda" else "float32",
    )
    model = Transformer(ModelConfig(**job.model), config.dropout).train()
    world = World(device=torch.device(job.device))
    trainee = ModelTrainee(model, config, Objective(config.label_smoothing), world)
    update = 0

    def step(batch: Batch) -> Tensor:
        nonlocal update
        update += 1
        ours = batches.Batch(batch.source_BS, batch.target_in_BT, batch.target_BT)
        loss = trainee.backward([ours], world.size / batch.tokens)
        trainee.step(update)
        return loss / batch.tokens

    return trainee.module, step


if __name__ == "__main__":
    serve(build)
