"""A job's command line: read by `wd` itself before it is sent, its paths made the cluster's."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

from typer.main import get_command

from cluster.runtime_env import TOLD_TO_ALL
from pipelines.commands.cli import app
from pipelines.commands.promotion_target import is_recorded
from pipelines.commands.recipe_arguments import read_recipe, shipped_recipes
from pipelines.commands.root_commands import root_of
from wd.config import CorpusConfig
from wd.errors import UserError, without_credentials

_YAML = (".yaml", ".yml")
_FOLDERS = {"model", "models", "path", "source", "recipe"}
"""Arguments that may be a folder, or else a name or an address."""


@dataclass(frozen=True)
class JobCommand:
    """What a job runs."""

    arguments: tuple[str, ...]
    """Those of `wd`, as they are to be said where the job runs."""
    files: tuple[Path, ...]
    """Recipes and search spaces that they name; the job has them in its folder."""


def job_command(arguments: Sequence[str]) -> JobCommand:
    """Return `wd`'s arguments as a job's.

    A job runs in a folder that the cluster throws away. So relative places are resolved here, and
    YAML files go along. Exits as `wd` does if it refuses the arguments, or after its help; raises
    UserErrors for a recipe, a file or an address that cannot be sent.
    """
    command = _command_of(arguments)
    given = _read(arguments)
    typed = [value for _, value in map(_parts, arguments)]
    places = _places(given, typed)
    files = _files(typed)
    _refuse_credentials([*arguments, *places])
    paths = _paths(given)

    def said(value: str) -> str:
        if value == given.get("place"):
            return _absolute(root_of(value))
        if value in files:
            return f"./{files[value].name}"
        return _absolute(value) if value and Path(value) in paths else value

    rest = [option + said(value) for option, value in map(_parts, arguments[1:])]
    return JobCommand((command, *rest, *places), tuple(files.values()))


def _command_of(arguments: Sequence[str]) -> str:
    first = arguments[0]
    if first.endswith(_YAML) or first in shipped_recipes():
        raise UserError(
            f"what is to be done with {first}? Name a command of wd's before it: "
            f"python -m cluster.submit [OPTIONS] run {first} [KEY=VALUE]..."
        )
    return first


def _read(arguments: Sequence[str]) -> dict[str, Any]:
    """Let `wd` read its arguments, doing nothing: return its command's by name."""
    given: dict[str, Any] = {}
    wd: Any = get_command(app)
    for command in wd.commands.values():
        command.callback = given.update
    try:
        wd(list(arguments), prog_name="wd")
    except SystemExit:
        if not given:
            raise
    return given


def _paths(given: Mapping[str, Any]) -> list[Path]:
    """Return the arguments that are paths here, and not only by how they look."""
    paths = [value for value in given.values() if isinstance(value, Path)]
    if _is_relative(given.get("root", "/")):
        paths.append(Path(given["root"]))
    for name in _FOLDERS & given.keys():
        values = given[name] if isinstance(given[name], list) else [given[name]]
        paths += [Path(value) for value in values if isinstance(value, str) and _is_here(value)]
    return paths


def _is_here(place: str) -> bool:
    return _is_relative(place) and place not in shipped_recipes() and Path(place).is_dir()


def _places(given: Mapping[str, Any], typed: Sequence[str]) -> list[str]:
    """Return what tells the job which places the recipe, and a default, mean here."""
    places, root = [], given.get("root", "/")
    if "place" in given and given["place"] not in typed:
        places.append(_absolute(root_of(given["place"])))
    if _is_relative(root) and root not in typed:
        places.append(f"--root={_absolute(root)}")
    recipe = given.get("recipe")
    if recipe is None or is_recorded(recipe, root):
        return places
    settings = read_recipe(recipe, given["overrides"] or ())
    _refuse_credentials([settings.root, settings.tracking.uri or ""])
    text = "." if _lies_here(settings.corpus) else settings.corpus.dir
    for key, place in {"root": settings.root, "corpus.dir": text}.items():
        if place is not None and _is_relative(place):
            places.append(f"{key}={_absolute(place)}")
    models = settings.local_models()
    return places + [f"{key}={json.dumps(place)}" for key, place in models.items()]


def _lies_here(corpus: CorpusConfig) -> bool:
    """Say whether text that is named without a folder lies in this one."""
    starts = [name.partition("{lang}")[0] for name in corpus.train]  # packed, or not
    return corpus.dir is None and any(
        any(Path().glob(f"{escape(start)}*")) for start in starts if _is_relative(start)
    )


def _is_relative(place: str) -> bool:
    """Say whether a place is a folder below this one; an address is not, nor is `~`."""
    return "://" not in place and not place.startswith("~") and not Path(place).is_absolute()


def _absolute(place: str) -> str:
    return str(Path(place).absolute()) if _is_relative(place) else place


def _files(typed: Sequence[str]) -> dict[str, Path]:
    """Return the YAML files among what is typed, by how they are."""
    files = {value: Path(value) for value in typed if value.endswith(_YAML)}
    names: set[str] = set()
    for value, file in files.items():
        if not file.is_file():
            raise UserError(f"{value}: there is no such file to go along with the job")
        if file.name in names:
            raise UserError(f"{value}: two files of this name would go along: rename one")
        names.add(file.name)
    return files


def _parts(argument: str) -> tuple[str, str]:
    """Return an argument as the option or key in it, with its `=`, and what may be a path."""
    if "=" not in argument:
        return "", argument
    option, equals, value = argument.partition("=")
    return (option + equals, value) if option.startswith("--") else (argument, "")


def _refuse_credentials(texts: Sequence[str]) -> None:
    for text in texts:
        if without_credentials(text) != text:
            raise UserError(f"{text}: {TOLD_TO_ALL}")
