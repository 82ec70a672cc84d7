"""Running text out of interface messages: no tags, no accelerators, numbered placeholders."""

import html
import re
from collections import Counter
from collections.abc import Iterator

_BLOCK = re.compile(r"</?(?:br|p|div|li|ul|ol|tr|td|th|h[1-6])\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_CLOSING = {"{%": "%}", "{{": "}}"}
"""Templates of Django and Jinja, which end on the line that they start on."""
# No pattern may step back into a run of characters (hence `*+`): a message can be one long run.
_PLAIN = (
    r"\$?\{[^{}\s]*\}"  # str.format, Zope
    r"|%\([^()]*\)[-+#0]*+[\d.]*+[a-zA-Z]"  # Python, named
    r"|%(?:\d++\$)?[-+#0]*+[\d.]*+[sdifgexXr](?![a-zA-Z])"  # C
    r"|%[a-zA-Z_]\w*%"
    r"|\$[a-zA-Z_]\w*"
)
_PLAIN_PLACEHOLDER = re.compile(_PLAIN)
_PLACEHOLDER = re.compile(rf"(\{{[%{{])|{_PLAIN}")
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
    text = text.replace("\0", "")
    seen: Counter[str] = Counter()
    names, between, last = [], [], 0
    for start, end in _placeholders(text):
        name = text[start:end]
        seen[name] += 1
        names.append(f"{name} {seen[name]}" if _POSITIONAL.fullmatch(name) else name)
        between.append(text[last:start])
        last = end
    return "\0".join([*between, text[last:]]), names


def _placeholders(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each placeholder starts and ends, in time linear in the text."""
    closings = {opening: _Next(text, closing) for opening, closing in _CLOSING.items()}
    line_ends = _Next(text, "\n")
    position = 0
    while found := _PLACEHOLDER.search(text, position):
        start, end = found.span()
        if opening := found[1]:
            closing = closings[opening].at(start + 2)
            plain = _PLAIN_PLACEHOLDER.match(text, start)
            if closing < line_ends.at(start):
                end = closing + 2
            elif plain:
                end = plain.end()
            else:
                position = start + 1
                continue
        yield start, end
        position = end


class _Next:
    """Where a text next holds a piece, asked for from left to right: each part is read once."""

    def __init__(self, text: str, piece: str) -> None:
        self._text = text
        self._piece = piece
        self._found = -1

    def at(self, position: int) -> int:
        """Return the first place from `position` on, or the text's length."""
        if self._found < position:
            found = self._text.find(self._piece, position)
            self._found = len(self._text) if found < 0 else found
        return self._found


def _numbered(text: str, names: list[str], numbers: dict[str, int]) -> str:
    rest = iter(names)
    text = re.sub("\0", lambda _: f"{{{numbers[next(rest)]}}}", text)
    return text.replace("%%", "%")
