"""How fast a recipe's teacher and students decode on a CPU, and the teacher in Hugging Face.

    python tests/benchmarks/decoding_speed.py wmt14-ende-base tokenizer.vocabulary_size=32000

Weights are untrained and every translation has a fixed length, since training changes what is said
and not how long a step takes. One thread; all take turns, round after round, so that a load meets
them alike; medians. The teacher is exported as `wd export --format hf` does and runs in
MarianMTModel.generate. Prints a table; the last line is JSON.
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Annotated

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
    show(found, batch, beam)
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
) -> list[dict[str, object]]:
    """Return sentences per second of each system at each batch size."""
    seconds: dict[tuple[str, str, int], list[float]] = {}
    for each in range(rounds + 1):
        for (name, kind), decode in decoders.items():
            for batch in batches:
                took = decode(batch)
                if each:  # the first round warms up
                    seconds.setdefault((name, kind, batch), []).append(took)
    rates = {key: key[2] / median(took) for key, took in seconds.items()}
    return [
        {
            "system": name,
            "quantization": kind,
            "batch": batch,
            "sentences_per_second": round(rate, 3),
            "to_teacher": round(rate / rates["teacher", kind, batch], 3),
            "to_float32_teacher": round(rate / rates["teacher", "float32", batch], 3),
        }
        for (name, kind, batch), rate in rates.items()
    ]


def show(found: list[dict[str, object]], batch: int, beam: int) -> None:
    """Print the table."""
    table = Table(title=f"beam {beam}, {LENGTH} pieces, one thread", title_justify="left")
    for column in (
        "system",
        "weights",
        *(f"{word} {size}" for size in (1, batch) for word in COLUMNS),
    ):
        table.add_column(column, justify="left" if column in ("system", "weights") else "right")
    by_key = {(row["system"], row["quantization"], row["batch"]): row for row in found}
    for name, kind in dict.fromkeys((row["system"], row["quantization"]) for row in found):
        rows = [by_key[name, kind, size] for size in (1, batch)]
        cells = [
            f"{row[key]:.{digits}f}"
            for row in rows
            for key, digits in (
                ("sentences_per_second", 1),
                ("to_teacher", 2),
                ("to_float32_teacher", 2),
            )
        ]
        table.add_row(str(name), str(kind), *cells)
    Console(width=140).print(table)


COLUMNS = ("sentences/s, batch", "x teacher, batch", "x float32 teacher, batch")


def main() -> None:
    """Run the command; what the user can mend is one message and exit status 2."""
    try:
        typer.run(decoding_speed)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
