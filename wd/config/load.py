"""YAML and `key=value` overrides in, a frozen `Recipe` out; errors name the key and the rule."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from wd.config.reading import MOST_BYTES, parse_yaml
from wd.config.recipe import Recipe
from wd.errors import ConfigError, unknown

C = TypeVar("C", bound=BaseModel)
_KINDS = {
    **dict.fromkeys(("tuple_type", "list_type"), "must be a list, such as [a, b]"),
    **dict.fromkeys(("model_type", "dict_type"), "must be a section of keys"),
}
"""What pydantic calls by its Python name."""
_SCALARS = {
    **dict.fromkeys(("int_type", "float_type", "bool_type"), ""),
    "string_type": ": YAML reads no, on, numbers and dates as such; quote it",
}
Brought = Callable[["Wanted"], dict[str, Any]]
"""From what a recipe says of its teacher to what comes with that model: key -> section."""
_TOLD = 20
"""So many mistakes are told at once."""


@dataclass(frozen=True)
class Wanted:
    """A teacher that a recipe brings along, and where its names are looked up."""

    source: str
    """The recipe's `teacher.from`."""
    into: str | None = None
    """Its `teacher.into`."""
    root: str = Recipe.model_fields["root"].default
    tracking: str | None = None
    """Its `tracking.uri`."""


def load_recipe(
    path: Path, overrides: Iterable[str] = (), brought: Brought | None = None
) -> Recipe:
    """Read a recipe file and apply overrides such as `teacher.training.updates=200`.

    `brought` is asked where there is a `teacher.from`. Raises ConfigError that names the file, the
    key and, for an unknown key, the nearest one.
    """
    try:
        tree = parse_yaml(_text(path))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise ConfigError(f"{path}: no such recipe file") from None
    except ValueError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: a recipe is a mapping of keys, not {type(tree).__name__}")
    changes = parsed_overrides(overrides)
    along = _brought_along(tree, changes, brought)
    if along:  # only all together they fit
        for key, value in (changes | along).items():
            _put(tree, key, value)
        changes = {}
    recipe = validated(Recipe, tree, str(path))
    return overridden(recipe, changes) if changes else recipe


def _brought_along(
    tree: Mapping[str, Any], changes: Mapping[str, Any], brought: Brought | None
) -> dict[str, Any]:
    """Return the sections that a `teacher.from` brings along; they replace the recipe's own."""
    if brought is None:
        return {}
    asked = deepcopy(dict(tree))
    for key, value in changes.items():
        _put(asked, key, value)
    keys = {"source": "teacher.from", "into": "teacher.into", "tracking": "tracking.uri"}
    told = {name: _at(asked, key) for name, key in (keys | {"root": "root"}).items()}
    given = {name: value for name, value in told.items() if value is not None}
    if "source" not in given or not all(isinstance(value, str) for value in given.values()):
        return {}
    return brought(Wanted(**given))


def _at(tree: Any, key: str) -> Any:
    """Return what a tree has at a dotted key, or None."""
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def parsed_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """Return dotted key -> value of `key=value` texts; raises ConfigError for another form."""
    return dict(_parse(override) for override in overrides)


def overridden(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe with dotted keys replaced: the form in which a sweep samples."""
    tree = recipe.model_dump(mode="json")
    # A preset fills what is not given, so what is not given must not look as if it were.
    tree["generator"] = recipe.generator.given()
    for key, value in changes.items():
        _put(tree, key, value)
    return validated(Recipe, tree, f"recipe {recipe.name}")


def validated(kind: type[C], tree: Mapping[str, Any], where: str) -> C:
    """Build `kind` from plain data, or raise ConfigError with every offending key."""
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        problems = _without_words(error.errors(include_url=False))
        lines = [_explain(kind, problem) for problem in problems[:_TOLD]]
        if len(problems) > _TOLD:
            lines.append(f"and {len(problems) - _TOLD} more")
        raise ConfigError(f"{where}: " + "; ".join(lines)) from None


def _text(path: Path) -> str:
    with path.open("rb") as stream:  # maybe a pipe, maybe a device without end
        content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES:,} bytes")
    return content.decode("utf-8")


def _parse(override: str) -> tuple[str, Any]:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"override {_short(override)}: write it as key=value, as student=small")
    try:
        return key, parse_yaml(text)
    except ValueError as error:
        problem = f"override {_short(override)}: the value is not valid YAML: {error}"
        raise ConfigError(problem) from None


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        child = tree.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"override {key}: {parent} is a single value, it has no keys")
        tree = child
    tree[last] = value


def _without_words(problems: Sequence[Any]) -> list[Any]:
    """Tell once what is wrong with a value that may also be a word, such as `auto`.

    Of such a union pydantic tells every branch, each with its own name at the end of the place.
    """
    words = {
        problem["loc"][:-1]: problem["ctx"]["expected"]
        for problem in problems
        if str(problem["loc"][-1:]).startswith('("literal[')
    }
    return [
        problem | {"loc": problem["loc"][:-1], "msg": f"{problem['msg']}, or {word}"}
        if (word := words.get(problem["loc"][:-1]))
        else problem
        for problem in problems
        if not (problem["loc"][:-1] in words and problem["type"] == "literal_error")
    ]


def _explain(kind: type[BaseModel], problem: Any) -> str:
    loc: Sequence[str | int] = problem["loc"]
    key = ".".join(str(part) for part in loc if not str(part).startswith("("))  # a union's branch
    if problem["type"] != "extra_forbidden":
        message = _KINDS.get(problem["type"], problem["msg"].removeprefix("Value error, "))
        if problem["type"] in _SCALARS and not isinstance(problem["input"], (dict, list, tuple)):
            message += f", not {_short(problem['input'])}{_SCALARS[problem['type']]}"
        return f"{key}: {message}" if key else message
    known = _fields_at(kind, loc[:-1])
    return unknown("key", str(loc[-1]), known, below="".join(f"{part}." for part in loc[:-1]))


def _short(value: Any) -> str:
    """Return a value as Python writes it, or its beginning."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _fields_at(kind: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """Return the keys that are allowed at a place in the config tree."""
    for index, part in enumerate(loc):
        annotation = kind.model_fields[str(part)].annotation
        if get_origin(annotation) is dict:
            return _fields_at(get_args(annotation)[1], loc[index + 2 :])
        if get_origin(annotation) in (Union, UnionType):
            annotation = get_args(annotation)[0]
        assert isinstance(annotation, type)
        assert issubclass(annotation, BaseModel)
        kind = annotation
    return [field.alias or name for name, field in kind.model_fields.items()]
