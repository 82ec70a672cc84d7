"""From what is typed to a recipe: a shipped name or a path, and `key=value` overrides."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wd.config import Recipe, Wanted, load_recipe
from wd.errors import ConfigError, unknown

RECIPES = Path(__file__).parents[1] / "recipes"


def shipped_recipes() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def recipe_path(recipe: str) -> Path:
    """Return the file of a shipped recipe's name, or the path that was given.

    Raises ConfigError for a name that is not shipped.
    """
    path = Path(recipe)
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        return path
    known = shipped_recipes()
    if recipe in known:
        return RECIPES / f"{recipe}.yaml"
    raise ConfigError(
        f"{unknown('recipe', recipe, known)}; or a recipe of your own, as a path that ends in .yaml"
    )


def read_recipe(recipe: str, overrides: Iterable[str] = ()) -> Recipe:
    """Return the recipe of a shipped name or a path, with `key=value` overrides applied.

    What a `teacher.from` brings along is in it.
    """
    return load_recipe(recipe_path(recipe), overrides, _brought_along)


def _brought_along(wanted: Wanted) -> dict[str, Any]:
    from pipelines.tools.brought import brought_along

    return brought_along(wanted)
