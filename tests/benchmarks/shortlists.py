"""What vocabulary shortlists bring: decoding with a choice of target pieces for each source.

    python tests/benchmarks/shortlists.py MODEL
    python tests/benchmarks/shortlists.py --shape wmt14-ende-base --student tiny

The first way takes a model directory below its root: shortlists are counted on what it was trained
on, and its test split gives speed and BLEU. The second takes an untrained
model of a recipe's shape, random shortlists, and a fixed length: speed alone. With and without take
turns; the last line is JSON.
"""

import json
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated

import ctranslate2
import torch
import typer
from torch import Tensor

from pipelines.commands.recipe_arguments import read_recipe
from pipelines.tools.lineage import probe_text, training_pairs
from wd.config import ModelConfig
from wd.data.schema import EOS
from wd.data.tokenizer import Tokenizer
from wd.decoding.convert import write_ctranslate2
from wd.evaluation.quality import score
from wd.interop.shortlists import BEST, COMMON, Shortlists, counted_shortlists, write_shortlists
from wd.model.directory import load_model
from wd.model.transformer import Transformer

Lines = Sequence[Sequence[str]]
LENGTH, SENTENCES = 24, 64
"""Pieces of a random source and of its translation; and how many sources."""


@dataclass(frozen=True)
class Case:
    """A model, what it translates, and its shortlists."""

    config: ModelConfig
    state: Mapping[str, Tensor]
    source_pieces: Sequence[str]
    target_pieces: Sequence[str]
    lines: Lines
    shortlists: Shortlists
    bleu: Callable[[Lines], float] | None = None
    """Of translations; None where they mean nothing, and have a fixed length."""


def bench(
    model: Annotated[Path | None, typer.Argument(help="A student's or teacher's folder.")] = None,
    shape: Annotated[str | None, typer.Option(help="A recipe, instead of a model.")] = None,
    student: Annotated[str, typer.Option(help="Of the recipe.")] = "tiny",
    best: Annotated[int, typer.Option(help="Target pieces for each source piece.")] = BEST,
    common: Annotated[int, typer.Option(help="Target pieces that are always there.")] = COMMON,
    beam: Annotated[int, typer.Option(min=1)] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Timed turns; the median counts.")] = 3,
    sentences: Annotated[int, typer.Option(min=1, help="Of the test split.")] = 300,
) -> None:
    """Time decoding with and without shortlists: one thread, batches of 1 and of 32."""
    if model:
        case = trained(model, best, common, sentences)
    elif shape:
        case = untrained(shape, student, best, common)
    else:
        raise typer.BadParameter("give MODEL or --shape")
    told = []
    print(f"{'weights':8} {'batch':>5} {'sent/s':>9} {'shortlists':>10} {'ratio':>6}  BLEU, with")
    for weights, batch in product(("float32", "int8"), (1, 32)):
        row = measure(case, weights, batch, beam, rounds)
        told.append({"weights": weights, "batch": batch, **row})
        scores = "  ".join(f"{value:.2f}" for value in row["bleu"])
        whole, short = row["sentences_per_second"]
        print(f"{weights:8} {batch:5} {whole:9.1f} {short:10.1f} {short / whole:6.2f}  {scores}")
    print(json.dumps(told))


def trained(model: Path, best: int, common: int, sentences: int) -> Case:
    """Return a trained model, sentences of its test split, and shortlists from its pseudo-data."""
    tokenizer, (config, state) = Tokenizer.load(model), load_model(model)
    of = str(model), model, str(model.absolute().parent.parent)
    test, pairs = probe_text(*of), training_pairs(*of)
    if test is None or pairs is None:
        raise typer.BadParameter(f"{model}: what it was made from is not there")
    references = test.references[:sentences]
    sources, targets = tokenizer.source_pieces, tokenizer.target_pieces
    target_ids = {piece: number for number, piece in enumerate(targets)}
    ids = tokenizer.encode_source(test.sources[:sentences])

    def bleu(found: Lines) -> float:
        texts = tokenizer.decode_target([[target_ids[piece] for piece in line] for line in found])
        return score(texts, references, test.language).bleu

    return Case(
        config,
        state,
        sources,
        targets,
        [[sources[piece] for piece in line] for line in ids],
        counted_shortlists(tokenizer, pairs, best=best, common=common),
        bleu,
    )


def untrained(shape: str, student: str, best: int, common: int) -> Case:
    """Return a random model of a recipe's shape, with random sources and shortlists."""
    recipe = read_recipe(shape, [f"student={student}"])
    size, draw = recipe.tokenizer.vocabulary_size, random.Random(0)
    tree = recipe.students[student].of(recipe.teacher.shape).model_dump()
    config = ModelConfig(**tree, source_vocabulary=size, target_vocabulary=size)
    torch.manual_seed(0)
    special = ["<pad>", "<unk>", "<s>", "</s>"]
    words = [f"piece{number}" for number in range(len(special), size)]
    lines = [[*draw.sample(words, LENGTH - 1), special[EOS]] for _ in range(SENTENCES)]
    shortlists = {piece: draw.sample(words, best) for piece in words}
    shortlists[""] = draw.sample(words, common)
    pieces = [*special, *words]
    return Case(config, Transformer(config).state_dict(), pieces, pieces, lines, shortlists)


def measure(case: Case, weights: str, batch: int, beam: int, rounds: int) -> dict[str, list[float]]:
    """Return sentences per second and BLEU, without shortlists and with, which take turns."""
    with tempfile.TemporaryDirectory() as name:
        write_ctranslate2(
            Path(name),
            case.config,
            case.state,
            source_pieces=case.source_pieces,
            target_pieces=case.target_pieces,
            quantization=weights,
        )
        write_shortlists(Path(name), case.shortlists)
        engine = ctranslate2.Translator(name, compute_type=weights, intra_threads=1)
    length = (1, 256) if case.bleu else (LENGTH, LENGTH)
    # Lines of one length together, so that it is shortlists that differ and not padding.
    order = sorted(range(len(case.lines)), key=lambda number: len(case.lines[number]))
    seconds: dict[bool, list[float]] = {False: [], True: []}
    found: dict[bool, dict[int, list[str]]] = {False: {}, True: {}}
    for turn, short in product(range(rounds + 1), (False, True)):
        started = perf_counter()
        for start in range(0, len(order), batch):
            numbers = order[start : start + batch]
            results = engine.translate_batch(
                [case.lines[number] for number in numbers],
                beam_size=beam,
                min_decoding_length=length[0],
                max_decoding_length=length[1],
                use_vmap=short,
            )
            found[short] |= {
                n: each.hypotheses[0] for n, each in zip(numbers, results, strict=True)
            }
        if turn:  # the first one warms up
            seconds[short].append(perf_counter() - started)
    texts = [[found[short][number] for number in range(len(order))] for short in (False, True)]
    return {
        "sentences_per_second": [len(order) / median(each) for each in seconds.values()],
        "bleu": [case.bleu(each) for each in texts] if case.bleu else [],
    }


if __name__ == "__main__":
    typer.run(bench)
