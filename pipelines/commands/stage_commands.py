"""Commands that make artifacts: the whole run, or one stage and what it needs."""

import shlex
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Annotated, Any

import typer

from pipelines.commands.options import (
    AsJson,
    DryRun,
    LogForm,
    Overrides,
    RecipeArgument,
    described,
    examples,
    print_json,
)
from pipelines.commands.recipe_arguments import read_recipe
from wd.config import Method, Recipe
from wd.errors import RegistryError, TrackingError

app = typer.Typer()


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
        typer.Option(
            "--from",
            metavar="STAGE",
            help="Do this stage and all later ones again; killed, go on --from the one it was at.",
        ),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    log: LogForm = None,
) -> None:
    """Run all stages: raw parallel text in, a registered student out.

    Finished stages are skipped; a killed run goes on with the same command.
    """
    from pipelines.stages.everything import everything, stages_from
    from pipelines.stages.hops import open_run

    rebuild = stages_from(start)
    settings = read_recipe(recipe, overrides or ())
    with open_run(settings, dry=dry_run, rebuild=rebuild) as pipeline:
        made = everything(pipeline)
    if dry_run:
        return print_json(pipeline.outlook) if as_json else None
    now = _registered(settings, made)
    if as_json:
        told = {name: described(artifact) for name, artifact in made.items()}
        if now:
            told["registry"]["metrics"] = now
        return print_json(told)
    _print_evaluation(made["evaluation"])
    if now:
        _print_registration(now, shlex.join([recipe, *(overrides or ())]))


def _registered(settings: Recipe, made: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is registered, as it is now; nothing without a registry."""
    if "registry" not in made:
        return {}
    from pipelines.stages.promotion import standing_now

    told: dict[str, Any] = made["registry"].metrics
    try:
        return standing_now(settings, told)
    except (RegistryError, TrackingError) as error:
        warnings.warn(f"what the registry said when it was made: {error}", stacklevel=2)
        return told


def _print_registration(now: Mapping[str, Any], arguments: str) -> None:
    from pipelines.stages.registry import outcome

    print(f"registered: {outcome(now)}")
    if now["reason"]:
        print(f"reason: {now['reason']}")
    if not now["promoted"]:
        verb = "To have it promoted" if now["passed"] else "To ask the gate again"
        print(f"{verb}: wd promote {arguments}")


def _add_stage(name: str, about: str) -> None:
    """Add the command that makes one stage's artifact and whatever it needs."""

    def stage(
        recipe: RecipeArgument,
        overrides: Overrides = None,
        dry_run: DryRun = False,
        as_json: AsJson = False,
        log: LogForm = None,
    ) -> None:
        _make(name, recipe, overrides, dry_run, as_json)

    example = f"wd {name} quickstart"
    app.command(name, help=about, epilog=examples(example, f"{example} --dry-run"))(stage)


_add_stage("corpus", "Read, filter and split the parallel text.")
_add_stage("tokenizer", "Train the SentencePiece models.")
_add_stage("shards", "Encode the corpus into token-budget batches.")
_add_stage("teacher", "Train the teacher.")
_add_stage("pseudo", "Translate the training sources with the teacher.")
_add_stage("generator", "Phase 1: train the parameter generator.")


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
        Method,
        typer.Option(
            help="scratch (original pairs only), kd, copy (of the teacher's layers) or wd."
        ),
    ] = "wd",
    dry_run: DryRun = False,
    as_json: AsJson = False,
    log: LogForm = None,
) -> None:
    """Phase 2: train the student; --method says where its weights start and what it reads."""
    _make("student", recipe, overrides, dry_run, as_json, method)


@app.command(epilog=examples("wd evaluate quickstart", "wd evaluate quickstart --json"))
def evaluate(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    log: LogForm = None,
) -> None:
    """Compare teacher, KD student and WD student on the test set."""
    show = None if as_json else _print_evaluation
    _make("evaluation", recipe, overrides, dry_run, as_json, show=show)


def _make(
    stage: str,
    recipe: str,
    overrides: list[str] | None,
    dry_run: bool,
    as_json: bool,
    *arguments: str,
    show: Callable[[Any], None] | None = None,
) -> None:
    """Make one stage's artifact; `arguments` go to its function after the run."""
    from pipelines.stages.hops import open_run

    settings = read_recipe(recipe, overrides or ())
    make = getattr(import_module(f"pipelines.stages.{stage}"), stage)
    with open_run(settings, dry=dry_run) as pipeline:
        artifact = make(pipeline, *arguments)
    if dry_run:
        return print_json(pipeline.outlook) if as_json else None
    if show:
        show(artifact)
    elif as_json:
        print_json(described(artifact))
    else:
        print(artifact.place)


def _print_evaluation(artifact: Any) -> None:
    from pipelines.stages.evaluation import print_table

    print_table(artifact)
