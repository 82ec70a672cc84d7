"""Register the weight-distilled student and, if it is good enough, put it into use."""

import json
from typing import Any

from pipelines.context import Run, Work, asked_once
from pipelines.stages.evaluation import evaluation
from pipelines.stages.student import student
from wd.artifacts import Artifact, Metrics, Store
from wd.config import Recipe
from wd.errors import RegistryError
from wd.tracking import is_tracked, tracking_address, tracking_place

VERSION = 1
REGISTRATION = "registration.json"


@asked_once
def registry(run: Run) -> Artifact:
    """Return the artifact with `registration.json`: name, version, alias, BLEU, promoted or not.

    The student becomes a version whatever its quality; it gets the alias only if its test BLEU
    is at least `registry.min_bleu`.
    """
    recipe = run.recipe
    report, model = evaluation(run), student(run, "wd")

    def build(work: Work) -> Metrics:
        registration = _register(run, work, report, model)
        text = json.dumps(registration, indent=2, ensure_ascii=False)
        (work.out / REGISTRATION).write_text(text + "\n", encoding="utf-8")
        work.tracker.log_file(work.out / REGISTRATION)
        return registration

    return run.stage(
        "registry",
        version=VERSION,
        label=f"{recipe.name}-{recipe.student}",
        config={
            "name": registered_name(recipe),
            "alias": recipe.registry.alias,
            "min_bleu": recipe.registry.min_bleu,
            "uri": tracking_address(recipe),
        },
        inputs={"evaluation": report, "student": model},
        build=build,
    )


def promote(recipe: Recipe) -> dict[str, Any]:
    """Make what is missing, register, set the alias (again, after a roll-back); tell what is.

    Raises RegistryError where nothing is tracked.
    """
    _check(recipe)
    with Run(recipe, rebuild=frozenset({"registry"})) as run:
        return registry(run).metrics


def rollback(recipe: Recipe) -> dict[str, Any]:
    """Give the alias back to the version that had it before.

    Raises RegistryError if there is no such alias or no version before.
    """
    _check(recipe)
    from wd.registry import Registry

    name, alias = registered_name(recipe), recipe.registry.alias
    left, now = Registry.existing(_address(recipe)).roll_back(name, alias)
    return {"name": name, "alias": alias, "from": left.version, "to": now.version}


def registered_name(recipe: Recipe) -> str:
    """Return the registered model's name."""
    return recipe.registry.name or f"{recipe.name}-{recipe.student}"


def _check(recipe: Recipe) -> None:
    if not is_tracked(recipe):
        raise RegistryError(
            "tracking.uri is none, and the registry is MLflow's: leave it out to use a local file, "
            "or give a server's address"
        )


def _register(run: Run, work: Work, report: Artifact, model: Artifact) -> dict[str, Any]:
    from wd.registry import Registry

    recipe, figures = run.recipe, report.metrics["WD"]
    handle = work.tracker.handle()
    assert handle is not None
    models = Registry(handle.uri)
    version = models.register(
        registered_name(recipe),
        model.path,
        artifact=model.name,
        run_id=handle.run_id,
        decoding=recipe.evaluation,
        tags={
            "wd.recipe": recipe.name,
            "wd.student": recipe.student,
            "wd.bleu": f"{figures['bleu']:.2f}",
            "wd.compression": f"{figures['compression']:.4f}",
            "wd.evaluation": report.name,
            **{f"wd.lineage.{role}": name for role, name in run.lineage(model).items()},
        },
    )
    promoted = figures["bleu"] >= recipe.registry.min_bleu
    if promoted:
        models.promote(version, recipe.registry.alias)
    return {
        "name": version.name,
        "version": version.version,
        "uri": version.uri,
        "alias": recipe.registry.alias,
        "promoted": promoted,
        "bleu": figures["bleu"],
        "min_bleu": recipe.registry.min_bleu,
        "compression": figures["compression"],
    }


def _address(recipe: Recipe) -> str:
    return tracking_place(recipe, Store(recipe.root).folder)[0]
