"""Commands on models: inspect, translate, import, export."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipelines.commands.options import AsJson, Root, examples, print_json
from wd.config import ChosenQuantization, DecodingConfig, Quantization

app = typer.Typer()

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A model directory, an artifact's name or address, or models:/NAME@ALIAS.",
    ),
]
Quantized = Annotated[
    Quantization, typer.Option("--quantization", help="How weights are held while decoding.")
]
Split = Annotated[
    str | None,
    typer.Option(
        metavar="LANGUAGE",
        help="Lines are paragraphs, in this language: each sentence is translated on its own.",
    ),
]
_DECODING = DecodingConfig()
_LIMITS = {
    key: {"min": number.get("minimum"), "max": number.get("maximum")}
    for key, field in DecodingConfig.model_json_schema()["properties"].items()
    for number in field.get("anyOf", [field])[:1]
}


def _default(key: str) -> str:
    return f"Default: a registered model's own, else {getattr(_DECODING, key)}."


@app.command(
    epilog=examples(
        "wd inspect artifacts/student/quickstart-0123456789ab",
        "wd inspect student/quickstart-0123456789ab",
        "wd inspect s3://bucket/root/student/quickstart-0123456789ab",
        "wd inspect models:/quickstart-tiny@champion",
    )
)
def inspect(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="An artifact's folder, name or address, a model directory, or models:/NAME@ALIAS.",
        ),
    ],
    as_json: AsJson = False,
    root: Root = "artifacts",
) -> None:
    """Tell what a folder is, its origin, and whether it is intact."""
    from pipelines.tools import inspect as inspecting

    place, origin = inspecting.place_of(path, root)
    description = inspecting.inspect(place, origin)
    if as_json:
        return print_json(description)
    inspecting.show(description, Console(markup=False))


@app.command(
    epilog=examples(
        "echo 'Save the file.' | wd translate models:/quickstart-tiny@champion",
        "wd translate artifacts/student/NAME -i in.txt -o out.txt --beam 4 --quantization int8",
        "tail -f log | wd translate student/NAME --split de",
    )
)
def translate(
    model: Model,
    source: Annotated[
        Path | None, typer.Option("-i", "--input", help="Text, one sentence per line.")
    ] = None,
    target: Annotated[Path | None, typer.Option("-o", "--output", help="Translations.")] = None,
    split: Split = None,
    beam: Annotated[
        int | None,
        typer.Option(
            **_LIMITS["beam_size"], help=f"Beam size; 1 is greedy. {_default('beam_size')}"
        ),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(
            **_LIMITS["max_length"],
            help=f"Longest translation, in pieces. {_default('max_length')}",
        ),
    ] = None,
    length_penalty: Annotated[
        float | None,
        typer.Option(
            **_LIMITS["length_penalty"],
            help=f"Exponent of the length. {_default('length_penalty')}",
        ),
    ] = None,
    batch_tokens: Annotated[
        int | None,
        typer.Option(
            **_LIMITS["batch_tokens"],
            help="Pieces decoded at once; default: by the device.",
        ),
    ] = None,
    quantization: Annotated[
        ChosenQuantization | None,
        typer.Option(
            help="How weights are held; auto: float16 on a GPU, else float32. "
            f"{_default('quantization')}"
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: as many as fit.")] = 0,
    root: Root = "artifacts",
) -> None:
    """Translate line for line, standard input to standard output, as the lines come.

    Blank lines stay. What is too long for the model is translated in parts, and told.
    """
    from pipelines.tools import translate as translating

    settings = {
        "beam_size": beam,
        "max_length": max_length,
        "length_penalty": length_penalty,
        "batch_tokens": batch_tokens,
        "quantization": quantization,
    }
    translating.translate(
        model,
        source,
        target,
        asked={key: value for key, value in settings.items() if value is not None},
        split=split,
        device=device,
        threads=threads,
        root=root,
    )


@app.command(
    "import",
    epilog=examples(
        "wd import opus-mt-en-de teacher",
        "wd import opus-mt-en-gmw teacher --into deu",
        "wd import models:/quickstart-tiny@champion teacher --json",
        "wd run my-recipe.yaml teacher.from=opus-mt-en-de",
    ),
)
def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder of Hugging Face's MarianMT, of fairseq or of Marian, a model directory, "
            "an artifact's name or address, or models:/NAME@ALIAS.",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The model directory to make.")],
    into: Annotated[
        str | None,
        typer.Option(help="The target language of a model that has several: deu for >>deu<<."),
    ] = None,
    as_json: AsJson = False,
    root: Root = "artifacts",
) -> None:
    """Bring a model of another project here, to translate with and to distil.

    Every tensor finds its place, or none is taken. Where the source's library is installed (the
    extra `interop`), the logits are compared with it.
    """
    from pipelines.tools import importing

    found = importing.import_to(source, out, root, into)
    if as_json:
        return print_json(found)
    Console(width=max(100, Console().width)).print(importing.table(found))


@app.command(
    epilog=examples(
        "wd export models:/quickstart-tiny@champion student-int8 --quantization int8",
        "wd export student/quickstart-tiny-wd-0123456789ab fast --quantization int8 --shortlists",
        "wd export student/quickstart-small-wd-0123456789ab student-hf --format hf",
    )
)
def export(
    model: Model,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to make.")],
    form: Annotated[
        str, typer.Option("--format", help="ctranslate2, or hf: a MarianMTModel of transformers.")
    ] = "ctranslate2",
    quantization: Quantized = "float32",
    shortlists: Annotated[
        bool,
        typer.Option(
            help="For ctranslate2: with the target pieces that each source piece becomes, counted "
            "on the training text; decoding with use_vmap=True is faster, above all of one line."
        ),
    ] = False,
    check: Annotated[
        bool, typer.Option(help="Compare it with the model before it is there.")
    ] = True,
    as_json: AsJson = False,
    root: Root = "artifacts",
) -> None:
    """Write a model in another program's format, tokenizer included.

    It is checked: in float32 it says what the model says in torch, fewer bits lose at most 0.2
    BLEU, and shortlists 0.5, on the test set of the corpus that the model was made from. The
    figures are in its manifest.
    """
    from pipelines.tools import export as exporting

    found = exporting.export(
        model,
        out,
        format=form,
        quantization=quantization,
        shortlists=shortlists,
        root=root,
        check=check,
    )
    if as_json:
        return print_json(found)
    print(out)
    print(exporting.told(found))
