"""YAML text to plain data, without what says one thing and means another, or has no end."""

import re
from typing import Any, NoReturn

import yaml
from yaml.constructor import ConstructorError

MOST_BYTES = 100_000
"""Of a recipe."""
_MOST_VALUES = 10_000
"""Of a text, counted as often as aliases repeat them."""
_DEEPEST = 30
_EXPONENT = re.compile(r"[-+]?(\d[\d_]*(\.[\d_]*)?|\.\d[\d_]*)[eE][-+]?\d+$")
_FLOAT = "tag:yaml.org,2002:float"


class _Loader(yaml.SafeLoader):
    """Raises YAMLError, with its place, for what misleads or is too much."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def get_single_node(self) -> yaml.Node | None:
        """Return the text as nodes that are checked."""
        node = super().get_single_node()
        if node is not None:
            _measure(node, {})
        return node

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Return the next node and those below, to a depth that Python's stack can hold."""
        if self._depth > _DEEPEST:
            mark = self.peek_event().start_mark
            raise ConstructorError(None, None, f"nested more than {_DEEPEST} deep", mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return a node's value; PyYAML itself dies of a 13th month or an `!!int` that is none."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError):
            _refuse(node, f"{node.value} is no {_kind(node)}, as which YAML reads it; quote it")


# YAML 1.1 takes 1e-3 for a text, since it has no dot.
_Loader.add_implicit_resolver(_FLOAT, _EXPONENT, list("-+.0123456789"))


def parse_yaml(text: str) -> Any:
    """Return YAML as plain data.

    Raises ValueError, which says where, for what is no YAML, for keys that are there twice or no
    words, for numbers that mean another one, for NUL, and for too much or too deep a text.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        why = ", ".join(filter(None, [error.context, error.problem]))
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise ValueError(why + where) from None
    except yaml.reader.ReaderError as error:
        problem = str(error).splitlines()[0]
        raise ValueError(f"{problem} (character {error.position + 1})") from None


def _measure(node: yaml.Node, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """Check a node and those below it, and return how many they are and how deep.

    `known` are the nodes that were measured, by their id: an alias is the node that it repeats.
    """
    if id(node) in known:
        return known[id(node)] or _refuse(node, "it holds itself")
    known[id(node)] = None
    below = []
    if isinstance(node, yaml.MappingNode):
        _check_keys(node)
        below = [each for pair in node.value for each in pair]
    elif isinstance(node, yaml.SequenceNode):
        below = node.value
    else:
        _check_scalar(node)
    sizes = [_measure(each, known) for each in below]
    values = 1 + sum(size for size, _ in sizes)
    depth = 1 + max((deep for _, deep in sizes), default=0)
    if values > _MOST_VALUES:
        _refuse(node, f"more than {_MOST_VALUES:,} values, what aliases repeat among them")
    if depth > _DEEPEST:
        _refuse(node, f"nested more than {_DEEPEST} deep")
    known[id(node)] = values, depth
    return values, depth


def _check_keys(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if _kind(key) not in ("str", "merge"):
            _refuse(key, f"a key is a word, but YAML reads this one as {_kind(key)}; quote it")
        if _kind(key) == "str" and key.value in seen:
            _refuse(key, f"the key {key.value} is there twice")
        seen.add(key.value)


def _check_scalar(node: yaml.Node) -> None:
    if re.search("[\0\ud800-\udfff]", node.value):
        _refuse(node, "a text holds NUL or half a character, which no file's name can")
    octal = _kind(node) == "int" and re.match(r"[-+]?0[\d_]", node.value)
    if octal or (_kind(node) in ("int", "float") and ":" in node.value):
        base = 8 if octal else 60
        _refuse(
            node, f"YAML reads {node.value} to the base {base}: write it in decimal, or quote it"
        )


def _kind(node: yaml.Node) -> str:
    return str(node.tag).rpartition(":")[2]


def _refuse(node: yaml.Node, why: str) -> NoReturn:
    raise ConstructorError(None, None, why, node.start_mark)
