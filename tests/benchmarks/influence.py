"""Which layers of a teacher's decoder count: validation loss with each left out, or alone.

    python tests/benchmarks/influence.py multi30k corpus.dir=DIR --batches 12

Forward passes only, of the recipe's teacher, which is made if it is not there. Prints the loss
(nats per target piece) of the whole teacher, without each decoder layer, with each single one, and
with each pair.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Annotated

import torch
import typer
from torch import nn

from pipelines.commands.options import Overrides, RecipeArgument
from pipelines.commands.recipe_arguments import read_recipe
from pipelines.context import Run
from pipelines.stages.shards import shards
from pipelines.stages.teacher import teacher
from wd.data.batches import ShardReader
from wd.data.schema import PAD
from wd.model.directory import load_model
from wd.model.transformer import Transformer
from wd.training.loss import cross_entropy


def influence(
    recipe: RecipeArgument = "multi30k",
    overrides: Overrides = None,
    batches: Annotated[
        int | None, typer.Option(help="Of the validation set; default: all.")
    ] = None,
) -> None:
    """Print the loss for every choice of layers."""
    with Run(read_recipe(recipe, overrides or ())) as run:
        text, first = shards(run), teacher(run)
    config, weights = load_model(first.path)
    model = Transformer(config).eval()
    model.load_state_dict(weights)
    layers = list(model.decoder.layers)
    reader = ShardReader([text / "valid"])
    read = [reader[index] for index in range(len(reader))][:batches]
    with torch.inference_mode():
        memories = [model.encode(batch.source_BS) for batch in read]
        for name, kept in choices(len(layers)):
            model.decoder.layers = nn.ModuleList(layers[index] for index in kept)
            total = sum(
                float(
                    cross_entropy(
                        model.decode(batch.target_in_BT, memory, batch.source_BS),
                        batch.target_BT,
                        0.0,
                    )
                )
                for batch, memory in zip(read, memories, strict=True)
            )
            pieces = sum(int((batch.target_BT != PAD).sum()) for batch in read)
            print(f"{name:<16} {total / pieces:.3f}", flush=True)


def choices(depth: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Return a name and the layers, counted from 0, that stay."""
    every = tuple(range(depth))
    yield "all", every
    for left_out in every:
        yield f"without {left_out}", tuple(index for index in every if index != left_out)
    for size in (1, 2):
        for kept in combinations(every, size):
            yield f"only {', '.join(map(str, kept))}", kept


if __name__ == "__main__":
    typer.run(influence)
