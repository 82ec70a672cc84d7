"""From what is to be promoted to its recipe: a recipe, a run of MLflow's, or a student."""

import re
from collections.abc import Iterable

from pipelines.commands.recipe_arguments import read_recipe
from pipelines.stages.hops import open_run
from wd.config import Recipe, overridden, parsed_overrides, validated
from wd.errors import RegistryError

_RUN = re.compile(r"[0-9a-f]{32}")
_STUDENT = re.compile(r"student/[^/]+-[0-9a-f]{12}")


def recipe_of(target: str, overrides: Iterable[str], root: str, to: str | None) -> Recipe:
    """Return the recipe that makes what `target` names, overrides applied.

    A run and an artifact are looked up in the registry of `root`; `to` is another registry's
    address. Raises UserErrors for a target that nothing is known of.
    """
    if not is_recorded(target, root):
        recipe = read_recipe(target, overrides)
    elif _RUN.fullmatch(target):
        recipe = _recorded(root, overrides, run_id=target)
    else:
        recipe = _recorded(root, overrides, artifact=_name(target, root))
    return recipe if to is None else overridden(recipe, {"tracking.uri": to})


def is_recorded(target: str, root: str) -> bool:
    """Say whether a target is a run or an artifact, whose recipe is in a registry, or a recipe."""
    name = _name(target, root)
    return bool(_RUN.fullmatch(target) or _STUDENT.fullmatch(name))


def _name(target: str, root: str) -> str:
    return target.rstrip("/").removeprefix(f"{root.rstrip('/')}/")


def _recorded(
    root: str, overrides: Iterable[str], run_id: str | None = None, artifact: str | None = None
) -> Recipe:
    from wd.registry import registry_address
    from wd.tracking import check_reachable, recorded_recipe

    address = registry_address(root)
    check_reachable(address)
    found = recorded_recipe(address, run_id=run_id, artifact=artifact)
    tree = {**found.recipe, "root": root}
    recipe = validated(Recipe, tree, f"the recipe of {run_id or artifact}")
    changes = parsed_overrides(overrides)
    recipe = overridden(recipe, changes) if changes else recipe
    wanted = artifact or found.student
    return _making(recipe, wanted) if wanted else recipe


def _making(recipe: Recipe, artifact: str) -> Recipe:
    """Return the recipe with the student that the artifact is; raises RegistryError if none is."""
    from pipelines.stages.student import student

    for each in (recipe.student, *recipe.students):
        chosen = overridden(recipe, {"student": each})
        if student(open_run(chosen).glance(chosen), "wd").name == artifact:
            return chosen
    raise RegistryError(
        f"{artifact}: the recipe of its run makes another student by weight distillation, with "
        "these overrides and by this version of the code; promote it by the recipe and the "
        "overrides that made it (a sweep's report tells them)"
    )
