"""The command line `wd`; `python -m pipelines.<stage>` is the same without installation.

Commands only read arguments and print results. Everything heavy is imported inside them.
"""

import json
import shlex
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any, get_args

import typer
from rich.console import Console

from pipelines import ladder_command, model_commands
from pipelines.command_group import CommandGroup
from pipelines.options import AsJson, DryRun, Overrides, RecipeArgument, examples, print_json
from pipelines.recipe_arguments import read_recipe
from wd.config import Method

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(ladder_command.app)
app.add_typer(model_commands.app)


def main(command: str | None = None) -> None:
    """Run `wd` with the process's arguments; `command` is put before them."""
    app([*filter(None, [command]), *sys.argv[1:]], prog_name="wd")


@app.callback()
def _wd() -> None:
    """Turn a big translation Transformer into a small fast one by weight distillation.

    A recipe says everything about a run; finished stages are found again and skipped.

    Start with:  wd run quickstart
    """


@app.command(
    epilog=examples(
        "wd run quickstart",
        "wd run multi30k corpus.dir=DIR student=small",
        "wd run quickstart --from generator",
        "wd run my-recipe.yaml --dry-run",
    )
)
def run(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="STAGE", help="Do this stage and all later ones again."),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Run all stages: raw parallel text in, a registered student out.

    Finished stages are skipped; a killed run goes on with the same command.
    """
    from pipelines.context import Run
    from pipelines.run import everything, stages_from

    rebuild = stages_from(start)
    with Run(read_recipe(recipe, overrides or ()), dry=dry_run, rebuild=rebuild) as pipeline:
        made = everything(pipeline)
    if dry_run:
        return print_json(pipeline.outlook) if as_json else None
    if as_json:
        return print_json({name: _told(artifact) for name, artifact in made.items()})
    _print_evaluation(made["evaluation"])
    print(f"registered: {model_commands.registration(made['registry'].metrics)}")


def _add_stage(command: str, function: str, about: str) -> None:
    """Add the command that makes one stage's artifact and whatever it needs."""

    def stage(
        recipe: RecipeArgument,
        overrides: Overrides = None,
        dry_run: DryRun = False,
        as_json: AsJson = False,
    ) -> None:
        _make(command, function, recipe, overrides, dry_run, as_json)

    example = f"wd {command} quickstart"
    app.command(command, help=about, epilog=examples(example, f"{example} --dry-run"))(stage)


_add_stage("corpus", "corpus", "Read, filter and split the parallel text.")
_add_stage("tokenizer", "tokenizer", "Train the SentencePiece models.")
_add_stage("shards", "shards", "Encode the corpus into token-budget batches.")
_add_stage("teacher", "teacher", "Train the teacher.")
_add_stage("pseudo", "pseudo", "Translate the training sources with the teacher.")
_add_stage("generator", "generator", "Phase 1: train the parameter generator.")


@app.command(
    epilog=examples(
        "wd student quickstart",
        "wd student quickstart --method kd   # the same size and budget",
    )
)
def student(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    method: Annotated[
        str,
        typer.Option(
            help="scratch (original pairs only), kd, copy (of the teacher's layers) or wd."
        ),
    ] = "wd",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Phase 2: train the student; --method says where its weights start and what it reads."""
    if method not in get_args(Method):
        raise typer.BadParameter(f"{method!r} is not one of {', '.join(get_args(Method))}")
    _make("student", "student", recipe, overrides, dry_run, as_json, method)


@app.command(epilog=examples("wd evaluate quickstart", "wd evaluate quickstart --json"))
def evaluate(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Compare teacher, KD student and WD student on the test set."""
    show = None if as_json else _print_evaluation
    _make("evaluate", "evaluation", recipe, overrides, dry_run, as_json, show=show)


@app.command(
    epilog=examples(
        "wd plan wmt14-ende-base student=small",
        "wd plan wmt14-ende-base student=tiny --tflops 800 --json",
        "wd plan wmt14-ende-base student=tiny --generator",
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
    as_json: AsJson = False,
) -> None:
    """Tell sizes, compression, FLOPs and hours before spending any."""
    from pipelines import plan as planning

    settings = read_recipe(recipe, overrides or ())
    told = planning.plan(settings, length=length, tflops=tflops)
    parts = planning.generator_parts(settings) if generator else {}
    if as_json:
        return print_json(told | ({"generator": parts} if parts else {}))
    console = Console(width=max(planning.WIDTH, Console().width))  # a log is taken to have 80
    for table in planning.tables(told) + (planning.generator_tables(parts) if parts else []):
        console.print(table)


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
    from pipelines import keys as listing

    if as_json:
        return print_json(listing.schema())
    for each in listing.keys(key):
        print(each)


@app.command(
    epilog=examples(
        "wd sweep quickstart --trials 4",
        "wd sweep quickstart --space student_shape --space grouping --trials 16 --updates 500",
    )
)
def sweep(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            help="student_shape, grouping, parts or optimization; repeatable. "
            "Default: the first two."
        ),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Different points to try.")] = 8,
    updates: Annotated[
        int | None, typer.Option(min=1, help="Updates of each phase, instead of the recipe's.")
    ] = None,
    concurrent: Annotated[
        int | None, typer.Option(min=1, help="Trials at a time; else as many as there is room for.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the sampling.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Search students by validation BLEU; teacher and pseudo-data are shared."""
    from pipelines import sweep as sweeping

    told = sweeping.sweep(
        read_recipe(recipe, overrides or ()),
        space or ["student_shape", "grouping"],
        trials=trials,
        updates=updates,
        concurrent=concurrent,
        seed=seed,
    )
    if as_json:
        return print_json(told)
    Console().print(sweeping.table(told))
    best = told["best"]
    changes = [f"{key}={json.dumps(value)}" for key, value in best["overrides"].items()]
    again = shlex.join(["wd", "run", recipe, *(overrides or ()), *changes])
    print(f"best: {best['key']}, {best['metrics']['bleu']:.2f} BLEU. To make it: {again}")


def _make(
    module: str,
    function: str,
    recipe: str,
    overrides: list[str] | None,
    dry_run: bool,
    as_json: bool,
    *arguments: str,
    show: Callable[[Any], None] | None = None,
) -> None:
    """Make one stage's artifact; `arguments` go to its function after the run."""
    from pipelines.context import Run

    settings = read_recipe(recipe, overrides or ())
    make = getattr(import_module(f"pipelines.{module}"), function)
    with Run(settings, dry=dry_run) as pipeline:
        artifact = make(pipeline, *arguments)
    if dry_run:
        return print_json(pipeline.outlook) if as_json else None
    if show:
        show(artifact)
    elif as_json:
        print_json(_told(artifact))
    else:
        print(artifact.path)


def _told(artifact: Any) -> dict[str, Any]:
    return {"artifact": artifact.name, "path": str(artifact.path), "metrics": artifact.metrics}


def _print_evaluation(artifact: Any) -> None:
    from pipelines.evaluate import print_table

    print_table(artifact)


if __name__ == "__main__":
    main()
