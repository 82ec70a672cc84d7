"""What Ray costs: an epoch through Ray Train beside the same steps in a bare loop.

    python tests/benchmarks/ray_overhead.py multi30k corpus.dir=DIR root=ROOT

Trains the recipe's teacher on its shards, which are made first: in this process without any of
the loop's services, then on one Ray worker, then on two, each with as many threads in all as it
has workers; and so on for some rounds. Speed is target pieces per second, the median over the
windows between progress reports; starting and validation are left out. The last line is JSON.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer

from pipelines.commands.options import Overrides, RecipeArgument
from pipelines.commands.recipe_arguments import read_recipe
from pipelines.context import Run
from pipelines.stages.corpus import corpus
from pipelines.stages.shards import shards
from pipelines.stages.tokenizer import tokenizer
from wd.config import RayConfig, Recipe
from wd.data.batches import ShardReader
from wd.distributed.train import fit
from wd.training.job import TrainingJob
from wd.training.run import make_trainee
from wd.training.validation import HeldOut
from wd.training.world import World

WINDOWS = 5


def bench(
    recipe: RecipeArgument = "multi30k",
    overrides: Overrides = None,
    updates: Annotated[int | None, typer.Option(help="Default: an epoch's.")] = None,
    rounds: Annotated[int, typer.Option(help="Repetitions, in turn.")] = 2,
) -> None:
    """Time Ray Train against a bare loop."""
    settings = read_recipe(recipe, overrides or ())
    folder = Path(tempfile.mkdtemp(prefix="wd-bench-"))
    job = _job(settings, updates, folder)
    speeds: dict[str, list[float]] = {}
    for number in range(rounds):
        for workers in (1, 2):
            for kind, speed in (
                (f"bare loop, {workers} threads", lambda w=workers: median(_bare(job, w))),
                (f"ray, {workers} workers", lambda w=workers: _ray(job, w)),
            ):
                speeds.setdefault(kind, []).append(speed())
                print(f"round {number}  {kind:24}{speeds[kind][-1]:10,.0f} pieces/s", flush=True)
                shutil.rmtree(folder, ignore_errors=True)
    medians = {kind: round(median(values)) for kind, values in speeds.items()}
    ratios = {
        workers: round(
            medians[f"ray, {workers} workers"] / medians[f"bare loop, {workers} threads"], 3
        )
        for workers in (1, 2)
    }
    print(json.dumps({"updates": job.config.updates, "speeds": medians, "ratios": ratios}))


def _job(recipe: Recipe, updates: int | None, folder: Path) -> TrainingJob:
    with Run(recipe) as run:
        text, pieces, batches = corpus(run).path, tokenizer(run).path, shards(run).path
    config = recipe.teacher.training
    updates = updates or len(ShardReader([batches / "train"])) // config.batches_per_update
    return TrainingJob(
        name="teacher",
        config=config.model_copy(
            update={
                "updates": updates,
                "validate_every": updates,
                "log_every": max(1, updates // WINDOWS),
                "bleu_sentences": 0,
            }
        ),
        model=recipe.teacher_model,
        train=(batches / "train",),
        held_out=HeldOut(
            shards=batches / "valid",
            corpus=text / "valid",
            tokenizer=pieces,
            language=recipe.target_language,
        ),
        scratch=folder,
    )


def _bare(job: TrainingJob, threads: int) -> Iterator[float]:
    """Yield the speed of each window."""
    torch.set_num_threads(threads)
    reader, trainee, config = ShardReader(job.train), make_trainee(job, World()), job.config
    trainee.module.train()
    pieces, began = 0, time.monotonic()
    for update in range(config.updates):
        indices = reader.step(update, config.batches_per_update, config.seed)
        tokens = int(reader.tokens[indices].sum())
        trainee.backward([reader[index] for index in indices], 1 / tokens)
        trainee.step(update + 1)
        pieces += tokens
        if (update + 1) % config.log_every == 0:
            yield pieces / (time.monotonic() - began)
            pieces, began = 0, time.monotonic()


def _ray(job: TrainingJob, workers: int) -> float:
    if job.config.batches_per_update < workers:
        job = replace(job, config=job.config.model_copy(update={"batches_per_update": workers}))
    return float(fit(job, RayConfig(workers=workers)).figures["tokens_per_second"])


if __name__ == "__main__":
    typer.run(bench)
