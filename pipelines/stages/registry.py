"""Register the weight-distilled student as a challenger; only the gate gives it the alias."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.context import Run, Work, asked_once
from pipelines.stages.corpus import corpus
from pipelines.stages.evaluation import evaluation, test_set
from pipelines.stages.student import student
from wd.artifacts import Artifact, Metrics, Store
from wd.config import Recipe
from wd.errors import RegistryError
from wd.manifest import commit
from wd.tracking import is_tracked, tracking_address, tracking_place

if TYPE_CHECKING:
    from wd.registry import Candidate, Registry, Standing, Verdict, Version

VERSION = 2
REGISTRATION = "registration.json"
SYSTEM = "WD"
"""The row of the evaluation that is registered."""


@asked_once
def registry(run: Run, contend: bool = False, anew: bool = False) -> Artifact:
    """Return the artifact with `registration.json`: name, version, alias, figures, the verdict.

    The student becomes a version whatever its quality, and the gate's rules are asked. Who passes
    gets the alias where no version has it, or if it is to `contend`; otherwise it is the
    challenger. With `anew` the version in use translates the test set first.
    """
    recipe = run.recipe
    report, model = evaluation(run), student(run, "wd")

    def build(work: Work) -> Metrics:
        candidate = candidate_of(run, report, model)
        registration = _register(recipe, work, candidate, contend, anew)
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
            "gate": recipe.registry.gate,
            "uri": tracking_address(recipe),
        },
        inputs={"evaluation": report, "student": model},
        build=build,
    )


def candidate_of(run: Run, report: Artifact, model: Artifact) -> "Candidate":
    """Return a student with all that a registry and a gate want to know of it."""
    from wd.evaluation.report import read_report
    from wd.registry import Candidate, digest_of_test_set, evidence_of

    recipe, test = run.recipe, test_set(run.recipe, corpus(run))
    text = (report.path / f"{SYSTEM}.txt").read_bytes().decode("utf-8")
    evidence = evidence_of(
        read_report(report.path),
        SYSTEM,
        text.split("\n")[:-1],
        test_set=digest_of_test_set(test.sources, test.references),
        evaluation=report.name,
    )
    lineage = {**run.lineage(model), "student": model.name}
    return Candidate(
        name=registered_name(recipe),
        artifact=model.name,
        folder=model.path,
        decoding=recipe.evaluation,
        evidence=evidence,
        sources=test.sources,
        references=test.references,
        tags={
            "wd.recipe": recipe.name,
            "wd.student": recipe.student,
            "wd.bleu": f"{evidence.bleu:.2f}",
            "wd.compression": f"{evidence.compression:.4f}",
            **{f"wd.lineage.{role}": name for role, name in lineage.items() if role != "student"},
        },
        lineage=lineage | {"commit": commit() or "not in a repository"},
    )


def _register(
    recipe: Recipe, work: Work, candidate: "Candidate", contend: bool, anew: bool
) -> dict[str, Any]:
    from wd.registry import Registry

    handle = work.tracker.handle()
    assert handle is not None
    models = Registry(handle.uri)
    with models.reached():
        return _contended(recipe, models, handle.run_id, candidate, contend, anew)


def _contended(
    recipe: Recipe,
    models: "Registry",
    run_id: str,
    candidate: "Candidate",
    contend: bool,
    anew: bool,
) -> dict[str, Any]:
    """Register, ask the gate, move the aliases and keep the verdict."""
    from wd.registry import judged

    version = candidate.registered(models, run_id)
    verdict, standing = judged(candidate, version, models, recipe.registry, anew=anew)
    holds = standing.current == version.version
    wins = verdict.passed and not holds and (contend or standing.current is None)
    told = _told(recipe, candidate, version, verdict, standing, wins)
    if wins:
        models.promote(version, recipe.registry.alias, expected=standing.current)
    elif not holds:
        models.challenge(version)
    models.record(version, verdict, "; ".join(filter(None, [outcome(told), told["reason"]])))
    return told


def _told(
    recipe: Recipe,
    candidate: "Candidate",
    version: "Version",
    verdict: "Verdict",
    standing: "Standing",
    wins: bool,
) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": version.version,
        "uri": version.uri,
        "languages": candidate.evidence.languages,
        **judgement(recipe, candidate, verdict),
        "promoted": wins or standing.current == version.version,
        "in_use": version.version if wins else standing.current,
        "before": standing.current,
    }


def judgement(recipe: Recipe, candidate: "Candidate", verdict: "Verdict") -> dict[str, Any]:
    """Return a verdict, and the figures behind it, as plain data."""
    return {
        "alias": recipe.registry.alias,
        "passed": verdict.passed,
        "reason": verdict.reason,
        "verdict": verdict.lines,
        "bleu": candidate.evidence.bleu,
        "chrf": candidate.evidence.chrf,
        "min_bleu": recipe.registry.min_bleu,
        "compression": candidate.evidence.compression,
    }


def outcome(told: Mapping[str, Any]) -> str:
    """Return one line on what became of a version."""
    alias, holder = told["alias"], told["in_use"]
    who = f"{told['name']} version {told['version']}, {told['bleu']:.2f} BLEU,"
    if told["promoted"]:
        before = told["before"]
        if before == told["version"]:
            return f"{who} has the alias {alias}: models:/{told['name']}@{alias}"
        instead = "" if before is None else f" after version {before}"
        return f"{who} was given the alias {alias}{instead}: models:/{told['name']}@{alias}"
    stays = "no version has" if holder is None else f"version {holder} has, and keeps,"
    if told["passed"]:
        return f"{who} is a challenger that passes the gate; {stays} the alias {alias}"
    return f"{who} is refused by the gate; {stays} the alias {alias}"


def registered_name(recipe: Recipe) -> str:
    """Return the registered model's name."""
    return recipe.registry.name or f"{recipe.name}-{recipe.student}"


def check_registrable(recipe: Recipe) -> None:
    """Raise RegistryError, before the work, where the student could not be registered after it."""
    check_tracked(recipe)
    if models := existing(recipe):
        pair = f"{recipe.source_language}-{recipe.target_language}"
        models.check_languages(registered_name(recipe), pair)


def existing(recipe: Recipe) -> "Registry | None":
    """Return the recipe's registry; None if it is a file that is not there yet."""
    from wd.registry import Registry

    try:
        return Registry.existing(address(recipe))
    except RegistryError:
        return None


def check_tracked(recipe: Recipe) -> None:
    """Raise RegistryError where nothing is tracked, so that there is no registry."""
    if not is_tracked(recipe):
        raise RegistryError(
            "tracking.uri is none, and the registry is MLflow's: leave it out to use a local file, "
            "or give a server's address"
        )


def address(recipe: Recipe) -> str:
    """Return MLflow's address."""
    return tracking_place(recipe, Store(recipe.root).folder)[0]
