"""Which layers of a teacher's decoder count: validation loss with each left out, or alone.

    python tests/benchmarks/influence.py multi30k corpus.dir=DIR

Forward passes only, of the recipe's teacher, which is made if it is not there. Prints the loss
(nats per target piece) of the whole teacher, without each decoder layer, with each single one, and
with each pair.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import typer
from torch import Tensor

from pipelines.commands.options import Overrides, RecipeArgument
from pipelines.commands.recipe_arguments import read_recipe
from pipelines.context import Run
from pipelines.stages.corpus import corpus
from pipelines.stages.shards import shards
from pipelines.stages.teacher import teacher
from pipelines.stages.tokenizer import tokenizer
from wd.model.directory import load_model
from wd.training.validation import HeldOut, validate
from wd.training.world import World

DECODER = "decoder.layers."


def influence(recipe: RecipeArgument = "multi30k", overrides: Overrides = None) -> None:
    """Print the loss for every choice of layers."""
    asked = read_recipe(recipe, overrides or ())
    with Run(asked) as run:
        config, weights = load_model(teacher(run).path)
        held_out = HeldOut(
            shards=shards(run) / "valid",
            corpus=corpus(run) / "valid",
            tokenizer=tokenizer(run).place,
            language=asked.target_language,
        )
    for name, kept in choices(config.decoder.layers):
        decoder = config.decoder.model_copy(update={"layers": len(kept)})
        fewer = config.model_copy(update={"decoder": decoder})
        loss = validate(fewer, with_layers(weights, kept), held_out, 0, World())["loss"]
        print(f"{name:<16} {loss:.3f}", flush=True)


def with_layers(weights: Mapping[str, Tensor], kept: Sequence[int]) -> dict[str, Tensor]:
    """Return the weights with these decoder layers alone, numbered anew."""
    chosen = {name: each for name, each in weights.items() if not name.startswith(DECODER)}
    for number, layer in enumerate(kept):
        own = f"{DECODER}{layer}."
        chosen |= {
            f"{DECODER}{number}.{name.removeprefix(own)}": each
            for name, each in weights.items()
            if name.startswith(own)
        }
    return chosen


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
