"""How fast a recipe's teacher and students decode on a CPU, and the teacher in Hugging Face.

    python tests/benchmarks/decoding_speed.py wmt14-ende-base tokenizer.vocabulary_size=32000

Weights are untrained and every translation has a fixed length, since training changes what is said
and not how long a step takes. One thread; all take turns, round after round, so that a load meets
them alike; medians. The teacher is exported as `wd export --format hf` does and runs in
MarianMTModel.generate. Prints a table by the wall's clock and one by the process' own, which other
work on the machine disturbs less; the last line is JSON.
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from pipelines.commands.options import Overrides, RecipeArgument
from pipelines.commands.recipe_arguments import read_recipe
from wd.config import DecodingConfig, ModelConfig
from wd.data.schema import EOS
from wd.decoding.shape_speed import (
    LENGTH,
    numbered_pieces,
    random_sources,
    untrained,
    untrained_state,
)
from wd.errors import ConfigError, UserError
from wd.interop.marian_hf_export import export_marian_hf
from wd.model.directory import TOKENIZER, write_model

QUANTIZATIONS = ("float32", "int8")
HUGGING_FACE = "teacher, Hugging Face"
CLOCKS = ("wall clock", "CPU time")
FIGURES = ("sentences_per_second", "to_teacher", "to_float32_teacher")
Decode = Callable[[int], float]
"""From a number of sentences, decoded together, to seconds."""


def decoding_speed(
    recipe: RecipeArgument = "wmt14-ende-base",
    overrides: Overrides = None,
    rounds: Annotated[int, typer.Option(min=1, help="Counted ones; one more warms up.")] = 5,
    beam: Annotated[int, typer.Option(min=1, help="Beam size.")] = 4,
    batch: Annotated[int, typer.Option(min=2, max=64, help="Sentences decoded together.")] = 32,
    hugging_face: Annotated[
        bool, typer.Option(help="Whether the teacher runs in transformers, too.")
    ] = True,
) -> None:
    """Measure the teacher and all students of a recipe, float32 and int8, batch 1 and more."""
    torch.set_num_threads(1)
    settings = read_recipe(recipe, overrides or ())
    shapes = {
        name: settings.model(shape.of(settings.teacher.shape))
        for name, shape in settings.students.items()
    }
    models = {"teacher": settings.teacher_model, **shapes}
    decoders = {
        (name, kind): untrained(model, DecodingConfig(beam_size=beam, quantization=kind), threads=1)
        for name, model in models.items()
        for kind in QUANTIZATIONS
    }
    if hugging_face:
        try:
            decoders[HUGGING_FACE, "float32"] = in_hugging_face(models["teacher"], beam)
        except ConfigError as error:
            print(f"not measured in Hugging Face: {error}")
    found = measured(decoders, (1, batch), rounds)
    for clock in CLOCKS:
        show(found, clock, f"beam {beam}, {LENGTH} pieces, one thread")
    print(json.dumps(found))


def in_hugging_face(config: ModelConfig, beam: int) -> Decode:
    """Return how MarianMTModel decodes the model; raises ConfigError where it cannot be that."""
    from transformers import MarianMTModel

    with TemporaryDirectory(prefix="wd-decoding-speed-") as name:
        folder = Path(name, "model")
        folder.mkdir()
        write_model(folder, config, untrained_state(config))
        sizes = config.source_vocabulary, config.target_vocabulary
        for path, size in zip(TOKENIZER, sizes, strict=True):
            (folder / path).write_bytes(stand_in(size))
        export_marian_hf(folder, Path(name, "hf"))
        model = MarianMTModel.from_pretrained(Path(name, "hf"), dtype=torch.float32).eval()
    sources = torch.tensor(random_sources(config.source_vocabulary))

    def decode(count: int) -> float:
        started = perf_counter()
        with torch.inference_mode():
            model.generate(
                input_ids=sources[:count],
                attention_mask=torch.ones_like(sources[:count]),
                num_beams=beam,
                min_new_tokens=LENGTH,
                max_new_tokens=LENGTH,
            )
        return perf_counter() - started

    return decode


def stand_in(size: int) -> bytes:
    """Return a SentencePiece model of so many pieces, in place of a trained one."""
    model, kind = ModelProto(), ModelProto.SentencePiece
    for number, piece in enumerate(numbered_pieces(size)):
        special = kind.UNKNOWN if piece == "<unk>" else kind.CONTROL
        model.pieces.add(piece=piece, type=special if number <= EOS else kind.NORMAL)
    return bytes(model.SerializeToString())


def measured(
    decoders: Mapping[tuple[str, str], Decode], batches: tuple[int, int], rounds: int
) -> list[dict[str, Any]]:
    """Return sentences per second of each system at each batch size, by both clocks."""
    took: dict[tuple[str, str, int], list[tuple[float, float]]] = {}
    for each in range(rounds + 1):
        for (name, kind), decode in decoders.items():
            for batch in batches:
                before = process_time()
                seconds = decode(batch)
                if each:  # the first round warms up
                    both = seconds, process_time() - before
                    took.setdefault((name, kind, batch), []).append(both)
    rows = []
    for name, kind, batch in took:
        row: dict[str, Any] = {"system": name, "weights": kind, "batch": batch}
        for number, clock in enumerate(CLOCKS):
            own, *teachers = (
                batch / median(pair[number] for pair in took[key])
                for key in (
                    (name, kind, batch),
                    ("teacher", kind, batch),
                    ("teacher", "float32", batch),
                )
            )
            figures = (own, *(own / each for each in teachers))
            row[clock] = dict(zip(FIGURES, (round(each, 3) for each in figures), strict=True))
        rows.append(row)
    return rows


def show(found: list[dict[str, Any]], clock: str, title: str) -> None:
    """Print what one of the clocks says."""
    table = Table(title=f"{title}, by {clock}", title_justify="left")
    for column in ("system", "weights", "batch"):
        table.add_column(column)
    for column in ("sentences/s", "x teacher of these weights", "x teacher in float32"):
        table.add_column(column, justify="right")
    for row in found:
        figures = [f"{row[clock][name]:.2f}" for name in FIGURES]
        table.add_row(row["system"], row["weights"], str(row["batch"]), *figures)
    Console(width=110).print(table)


def main() -> None:
    """Run the command; what the user can mend is one message and exit status 2."""
    try:
        typer.run(decoding_speed)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
