"""From what is typed to a recipe: a shipped name or a path, and `key=value` overrides."""

import difflib
from collections.abc import Iterable
from pathlib import Path

from wd.config import Recipe, load_recipe
from wd.errors import ConfigError

RECIPES = Path(__file__).parents[1] / "recipes"


def shipped_recipes() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def recipe_path(recipe: str) -> Path:
    """Return the file of a shipped recipe's name, or the path that was given.

    Raises ConfigError; for a name that is not shipped it names the nearest.
    """
    path = Path(recipe)
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        return path
    known = shipped_recipes()
    if recipe in known:
        return RECIPES / f"{recipe}.yaml"
    nearest = difflib.get_close_matches(recipe, known, n=1, cutoff=0.0)
    raise ConfigError(
        f"no recipe {recipe!r}; did you mean {' or '.join(nearest)}? Shipped recipes: "
        f"{', '.join(known)}. A recipe of your own is given as a path that ends in .yaml"
    )


def read_recipe(recipe: str, overrides: Iterable[str] = ()) -> Recipe:
    """Return the recipe of a shipped name or a path, with `key=value` overrides applied."""
    return load_recipe(recipe_path(recipe), overrides)
