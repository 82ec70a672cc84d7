"""What a recipe may say: every key with its values, its default, and what it means."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import yaml

from wd.config import Recipe
from wd.errors import ConfigError, unknown

WIDTH = 100
_LIMITS = {
    **{"minimum": "at least", "exclusiveMinimum": "above"},
    **{"maximum": "at most", "exclusiveMaximum": "below"},
}


@dataclass(frozen=True)
class Key:
    """A key of a recipe, or a section of keys."""

    path: str
    """With dots, as in an override; NAME stands for a name of one's own."""
    values: str
    """What it takes; empty for a section."""
    default: str | None
    """As YAML; None where there is none: the recipe must say it, or it is a section."""
    about: str

    def __str__(self) -> str:
        given = "" if self.default is None else f" = {self.default}"
        head = f"{self.path}{given}" + (f"    ({self.values})" if self.values else "")
        about = " ".join(self.about.split())
        text = fill(about, WIDTH, initial_indent="    ", subsequent_indent="    ")
        return "\n".join(filter(None, [head, text]))


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe, for editors that check and complete YAML."""
    return Recipe.model_json_schema()


def keys(prefix: str | None = None) -> list[Key]:
    """Return all keys, or `prefix` and what is below it; raises ConfigError if there is no such."""
    whole = schema()
    found = list(_walk(whole, whole["$defs"], "", {}))
    if prefix is None:
        return found
    wanted = prefix.split(".")
    if chosen := [key for key in found if _is_below(key.path.split("."), wanted)]:
        return chosen
    raise ConfigError(_unknown([key.path.split(".") for key in found], wanted))


def _unknown(paths: list[list[str]], wanted: list[str]) -> str:
    """Say which step of a key's path is the first that does not exist."""
    for depth, step in enumerate(wanted):
        here = [path for path in paths if _is_below(path, wanted[:depth])]
        known = dict.fromkeys(path[depth] for path in here if len(path) > depth)
        if step not in known and "NAME" not in known:
            break
    return unknown("key", step, known, below="".join(f"{name}." for name in wanted[:depth]))


def _is_below(path: list[str], prefix: list[str]) -> bool:
    pairs = zip(path, prefix, strict=False)
    return len(path) >= len(prefix) and all(step in (name, "NAME") for step, name in pairs)


def _walk(
    section: Mapping[str, Any], kinds: Mapping[str, Any], path: str, defaults: Mapping[str, Any]
) -> Iterator[Key]:
    for name, field in section["properties"].items():
        place = f"{path}{name}"
        default = defaults.get(name, field.get("default"))
        about = field.get("description", "")
        below, step = _section(field, kinds), ""
        for named in field.get("patternProperties", {}).values():
            below, step = _section(named, kinds), ".NAME"
        if below is None:
            required = name in section.get("required", ())
            shown = None if required else _as_yaml(default)
            yield Key(place, _values(field, kinds), shown, about)
        else:
            yield Key(f"{place}{step}", "", None, about or below.get("description", ""))
            yield from _walk(below, kinds, f"{place}{step}.", default or {})


def _section(field: Mapping[str, Any], kinds: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the section that a field holds, if it holds one."""
    for one in (field, *field.get("anyOf", ())):
        if "$ref" in one:
            kind: Mapping[str, Any] = kinds[one["$ref"].rpartition("/")[2]]
            return kind if "properties" in kind else None
    return None


def _values(field: Mapping[str, Any], kinds: Mapping[str, Any]) -> str:
    """Say what a field takes, as in `a | b` or `integer, at least 1`."""
    if branches := field.get("anyOf") or field.get("oneOf"):
        ways = " | ".join(_values(one, kinds) for one in branches)
        return ways.replace("boolean", "true | false")
    if "const" in field or "enum" in field:
        return " | ".join(map(_as_yaml, field.get("enum", [field.get("const")])))
    if field.get("type") == "array":
        inner = field.get("items") or field["prefixItems"][0]
        return f"list of {_values(inner, kinds)}"
    if "patternProperties" in field:
        (named,) = field["patternProperties"].values()
        return f"{{NAME: {_values(named, kinds)}}}"
    limits = [f"{word} {field[key]:,.10g}" for key, word in _LIMITS.items() if key in field]
    return ", ".join([field["type"], *limits])


def _as_yaml(value: Any) -> str:
    return (
        yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()
    )
