"""What people do with versions: promote one by the gate, foresee the verdict, roll back."""

from contextlib import nullcontext
from typing import Any

from pipelines.stages.evaluation import evaluation
from pipelines.stages.hops import open_run
from pipelines.stages.registry import (
    address,
    candidate_of,
    check_registrable,
    check_tracked,
    existing,
    judgement,
    outcome,
    registered_name,
    registry,
)
from pipelines.stages.student import student
from wd.config import Recipe
from wd.errors import RegistryError


def promote(recipe: Recipe, *, anew: bool = False) -> dict[str, Any]:
    """Make what is missing, register, ask the gate, and give the alias to who passes.

    Raises RegistryError where nothing is tracked, and if the alias moved meanwhile.
    """
    check_registrable(recipe)
    with open_run(recipe, rebuild=frozenset({"registry"})) as run:
        return registry(run, contend=True, anew=anew).metrics


def foresee(recipe: Recipe, *, anew: bool = False) -> dict[str, Any]:
    """Return what the gate would say; nothing is made, registered or changed.

    Raises RegistryError if the student has not been made and evaluated.
    """
    from wd.registry import IN_USE, foreseen

    check_registrable(recipe)
    with open_run(recipe, dry=True) as run:
        report, model = evaluation(run), student(run, "wd")
        if lacking := [name for name, state in run.outlook.items() if state == "to do"]:
            raise RegistryError(
                f"{lacking[-1]}: not made yet, so there is nothing to ask the gate about; make it "
                "with `wd evaluate` and the same arguments"
            )
        candidate = candidate_of(run, report, model)
    models = existing(recipe)
    with models.reached() if models else nullcontext():
        verdict, standing = foreseen(candidate, models, recipe.registry, anew=anew)
    found = judgement(recipe, candidate, verdict)
    holds = any(line.endswith(IN_USE) for line in verdict.lines)
    return {"name": candidate.name, "in_use": standing.current, "promoted": holds, **found}


def summary(told: dict[str, Any]) -> str:
    """Return one line on what became of a version, or, if it is none yet, would."""
    if "version" in told:
        return outcome(told)
    holder, alias = told["in_use"], told["alias"]
    if told["passed"] and told["promoted"]:
        return f"{told['name']}: this student has the alias {alias} already"
    if told["passed"]:
        return f"{told['name']}: would be given the alias {alias}; nothing was changed"
    stays = "no version has" if holder is None else f"version {holder} has, and would keep,"
    return f"{told['name']}: would be refused; {stays} the alias {alias}; nothing was changed"


def rollback(recipe: Recipe, steps: int = 1) -> dict[str, Any]:
    """Give the alias back to the version that had it so many steps before.

    Raises RegistryError if there is no such alias or no version before.
    """
    check_tracked(recipe)
    from wd.registry import Registry

    name, alias = registered_name(recipe), recipe.registry.alias
    models = Registry.existing(address(recipe))
    with models.reached():
        left, now, note = models.roll_back(name, alias, steps)
    found = {"name": name, "alias": alias, "from": left.version, "to": now.version}
    return found | ({"note": note} if note else {})


def standing_now(recipe: Recipe, told: dict[str, Any]) -> dict[str, Any]:
    """Return a registration as it is now: the alias may have gone elsewhere since."""
    from wd.registry import Registry

    models = Registry.existing(address(recipe))
    with models.reached():
        found = models.standing(told["name"], told["alias"])
    holds = found.current == told["version"]
    now = {"in_use": found.current, "promoted": holds}
    return told | now | ({"before": found.current} if holds and not told["promoted"] else {})
