"""Running text out of interface messages: no tags, no accelerators, numbered placeholders."""

import html
import re
from collections import Counter

_BLOCK = re.compile(r"</?(?:br|p|div|li|ul|ol|tr|td|th|h[1-6])\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
# What a message can hold must not keep a pattern busy: no step back into runs of the same
# character (`*+`), and a limit where an opening without its closing would be looked for again.
_PLACEHOLDER = re.compile(
    r"\{%.{0,1000}?%\}|\{\{.{0,1000}?\}\}"  # Django and Jinja templates
    r"|\$?\{[^{}\s]*\}"  # str.format, Zope
    r"|%\([^()]*\)[-+#0]*+[\d.]*+[a-zA-Z]"  # Python, named
    r"|%(?:\d++\$)?[-+#0]*+[\d.]*+[sdifgexXr](?![a-zA-Z])"  # C
    r"|%[a-zA-Z_]\w*%"
    r"|\$[a-zA-Z_]\w*"
)
_POSITIONAL = re.compile(r"\{\}|%[^()$%]*")
_ACCELERATOR = re.compile(r"\(([&_])\w\)|(?<!\w)([&_])(?=\w)|(?<=\w)(&)(?=[a-z])")
_LETTER = re.compile(r"[^\W\d_]")


def plain_pair(source: str, target: str, removed: Counter[str]) -> tuple[str, str] | None:
    """Return both texts as running text, with the same placeholders `{0}`, `{1}`, ... in both.

    Returns None, counted in `removed`, if the placeholders differ or a side has no letters.
    """
    source, target = _without_tags(source), _without_tags(target)
    source, target = _without_accelerators(source, target)
    source, wanted = _marked(source)
    target, found = _marked(target)
    if Counter(wanted) != Counter(found):
        removed["placeholders"] += 1
        return None
    numbers: dict[str, int] = {}
    for name in wanted:
        numbers.setdefault(name, len(numbers))
    pair = _numbered(source, wanted, numbers), _numbered(target, found, numbers)
    if not all(map(_LETTER.search, pair)):
        removed["no_words"] += 1
        return None
    return pair


def _without_tags(text: str) -> str:
    text = _TAG.sub("", _BLOCK.sub(" ", text))
    try:
        return html.unescape(text)
    except ValueError:  # a character number of more digits than Python reads
        return text


def _without_accelerators(source: str, target: str) -> tuple[str, str]:
    """Take out the mark of a keyboard shortcut (`&Save`, `_Save`, `(&S)`).

    Only where both sides have exactly one: else it is an ordinary character.
    """
    if len(_ACCELERATOR.findall(source)) == len(_ACCELERATOR.findall(target)) == 1:
        return _ACCELERATOR.sub("", source), _ACCELERATOR.sub("", target)
    return source, target


def _marked(text: str) -> tuple[str, list[str]]:
    """Put a NUL for each placeholder; return their names, counted where they are positional."""
    seen: Counter[str] = Counter()
    names = []
    for name in _PLACEHOLDER.findall(text.replace("\0", "")):
        seen[name] += 1
        names.append(f"{name} {seen[name]}" if _POSITIONAL.fullmatch(name) else name)
    return _PLACEHOLDER.sub("\0", text.replace("\0", "")), names


def _numbered(text: str, names: list[str], numbers: dict[str, int]) -> str:
    rest = iter(names)
    text = re.sub("\0", lambda _: f"{{{numbers[next(rest)]}}}", text)
    return text.replace("%%", "%")
