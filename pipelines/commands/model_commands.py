"""Commands on finished models: inspect, translate, export, promote, roll back."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from pipelines.commands.options import AsJson, Overrides, RecipeArgument, examples, print_json
from pipelines.commands.recipe_arguments import read_recipe
from wd.config import ChosenQuantization, DecodingConfig, Quantization, validated

app = typer.Typer()

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="A model directory, an artifact's name, or models:/NAME@ALIAS."
    ),
]
Quantized = Annotated[
    Quantization, typer.Option("--quantization", help="How weights are held while decoding.")
]
_DECODING = DecodingConfig()
_LIMITS = {
    key: {"min": number.get("minimum"), "max": number.get("maximum")}
    for key, field in DecodingConfig.model_json_schema()["properties"].items()
    for number in field.get("anyOf", [field])[:1]
}
Root = Annotated[str, typer.Option(help="Where artifacts are, for names and the registry.")]


def registration(figures: dict[str, Any]) -> str:
    """Return one line about a registered version, from the registry stage's figures."""
    outcome = (
        f"was given the alias {figures['alias']}: {figures['uri']}"
        if figures["promoted"]
        else f"is not given the alias {figures['alias']}, for {figures['min_bleu']:.2f} BLEU"
    )
    return f"{figures['name']} version {figures['version']}, {figures['bleu']:.2f} BLEU, {outcome}"


@app.command(epilog=examples("wd inspect artifacts/student/quickstart-0123456789ab"))
def inspect(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="An artifact's folder or a model directory.")
    ],
    as_json: AsJson = False,
) -> None:
    """Tell what a folder is, its origin, and whether it is intact."""
    from pipelines.tools import inspect as inspecting

    description = inspecting.inspect(path)
    if as_json:
        return print_json(description)
    inspecting.show(description, Console(markup=False))


@app.command(
    epilog=examples(
        "echo 'Save the file.' | wd translate models:/quickstart-tiny@champion",
        "wd translate artifacts/student/NAME -i in.txt -o out.txt --beam 4 --quantization int8",
    )
)
def translate(
    model: Model,
    source: Annotated[
        Path | None, typer.Option("-i", "--input", help="Text, one sentence per line.")
    ] = None,
    target: Annotated[Path | None, typer.Option("-o", "--output", help="Translations.")] = None,
    beam: Annotated[
        int, typer.Option(**_LIMITS["beam_size"], help="Beam size; 1 is greedy.")
    ] = _DECODING.beam_size,
    max_length: Annotated[
        int, typer.Option(**_LIMITS["max_length"], help="Longest translation, in pieces.")
    ] = _DECODING.max_length,
    length_penalty: Annotated[
        float, typer.Option(**_LIMITS["length_penalty"], help="Exponent of the length.")
    ] = _DECODING.length_penalty,
    batch_tokens: Annotated[
        int | None,
        typer.Option(
            **_LIMITS["batch_tokens"],
            help="Pieces decoded at once; default: by the device.",
        ),
    ] = None,
    quantization: Annotated[
        ChosenQuantization,
        typer.Option(help="How weights are held; auto: float16 on a GPU, else float32."),
    ] = _DECODING.quantization,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: as many as fit.")] = 0,
    root: Root = "artifacts",
) -> None:
    """Translate line for line, standard input to standard output."""
    from pipelines.tools import translate as translating

    settings = {
        "beam_size": beam,
        "max_length": max_length,
        "length_penalty": length_penalty,
        "batch_tokens": batch_tokens or "auto",
        "quantization": quantization,
    }
    translating.translate(
        model,
        source,
        target,
        decoding=validated(DecodingConfig, settings, "wd translate"),
        device=device,
        threads=threads,
        root=root,
    )


@app.command(
    epilog=examples("wd export models:/quickstart-tiny@champion student-int8 --quantization int8")
)
def export(
    model: Model,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to make.")],
    form: Annotated[str, typer.Option("--format", help="ctranslate2.")] = "ctranslate2",
    quantization: Quantized = "float32",
    root: Root = "artifacts",
) -> None:
    """Write a model in another program's format, tokenizer included."""
    from pipelines.tools import export as exporting

    exporting.export(model, out, format=form, quantization=quantization, root=root)
    print(out)


@app.command(epilog=examples("wd promote quickstart", "wd promote quickstart registry.min_bleu=20"))
def promote(recipe: RecipeArgument, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Register the student; it gets the alias if it passes the gate.

    Whatever the recipe still lacks is made first.
    """
    from pipelines.stages import registry as promoting

    registered = promoting.promote(read_recipe(recipe, overrides or ()))
    if as_json:
        return print_json(registered)
    print(registration(registered))


@app.command(epilog=examples("wd rollback quickstart"))
def rollback(recipe: RecipeArgument, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Give the alias back to the version that had it before."""
    from pipelines.stages import registry as promoting

    moved = promoting.rollback(read_recipe(recipe, overrides or ()))
    if as_json:
        return print_json(moved)
    print(f"{moved['name']}@{moved['alias']}: version {moved['from']} -> version {moved['to']}")
