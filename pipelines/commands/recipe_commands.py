"""Commands on a recipe alone: what it will cost, and what it may say."""

from typing import Annotated

import typer
from rich.console import Console

from pipelines.commands.options import AsJson, Overrides, RecipeArgument, examples, print_json
from pipelines.commands.recipe_arguments import read_recipe

app = typer.Typer()


@app.command(
    epilog=examples(
        "wd plan wmt14-ende-base student=small",
        "wd plan wmt14-ende-base student=tiny --tflops 800 --json",
        "wd plan wmt14-ende-base student=tiny --generator",
        "wd plan wmt14-ende-big --gpu h100",
    )
)
def plan(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    length: Annotated[
        int, typer.Option(min=1, help="Pieces per sentence that costs hold for.")
    ] = 25,
    tflops: Annotated[
        float | None,
        typer.Option(min=1e-6, help="What all training workers together sustain; gives hours."),
    ] = None,
    generator: Annotated[
        bool, typer.Option("--generator", help="Also every class and map of the generator.")
    ] = False,
    gpu: Annotated[
        str | None,
        typer.Option("--gpu", metavar="CARD", help="Memory, batches and hours on it, say h100."),
    ] = None,
    mfu: Annotated[
        float | None,
        typer.Option(min=0.001, max=1, help="With --gpu: the share of its peak that is reached."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell sizes, compression, FLOPs and hours before spending any."""
    from pipelines.tools import plan as planning
    from pipelines.tools import plan_gpu, plan_gpu_tables
    from pipelines.tools.gpus import gpu as card_of

    settings = read_recipe(recipe, overrides or ())
    planned = planning.plan(settings, length=length, tflops=tflops)
    parts = planning.generator_parts(settings) if generator else {}
    on_gpu = {}
    if gpu is not None:
        on_gpu = plan_gpu.plan_gpu(settings, card_of(gpu), mfu=mfu or plan_gpu.MFU, length=length)
    if as_json:
        more = {"generator": parts, "gpu": on_gpu}
        return print_json(planned | {key: value for key, value in more.items() if value})
    console = Console(width=max(planning.WIDTH, Console().width))  # a log is taken to have 80
    for table in planning.tables(planned) + (planning.generator_tables(parts) if parts else []):
        console.print(table)
    if on_gpu:
        for table in plan_gpu_tables.gpu_tables(on_gpu):
            console.print(table)
        for line in plan_gpu_tables.notes(on_gpu):
            console.print(line, highlight=False)


@app.command(epilog=examples("wd keys generator.grouping", "wd keys --json > recipe.schema.json"))
def keys(
    key: Annotated[
        str | None, typer.Argument(metavar="KEY", help="Only this one and what is below it.")
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print a recipe's JSON Schema; editors complete YAML by it."),
    ] = False,
) -> None:
    """Tell every key of a recipe: its default, what it takes, what it means."""
    from pipelines.tools import keys as listing

    if as_json:
        return print_json(listing.schema())
    for each in listing.keys(key):
        print(each)
