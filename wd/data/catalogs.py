"""gettext message catalogs (.po, .mo, or all that a Python wheel holds) as parallel text."""

import gettext
import re
import struct
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polib

from wd.data.languages import catalog_language, variants
from wd.data.markup import plain_pair
from wd.data.sources import Entry
from wd.errors import DataError

_IN_WHEEL = re.compile(
    r"(?P<root>(?:(?!LC_MESSAGES)[^/]+/)*?)(?:(?P<locale>[^/]+)/LC_MESSAGES/(?P<domain>[^/]+)|(?P<file>[^/]+))"
    r"\.(?P<kind>po|mo)"
)
# Some projects use identifiers as keys and keep the English text in a comment.
_DEFAULT = re.compile(r'Default: "(.*)"\s*$', re.DOTALL)
_IDENTIFIER = re.compile(r"[\w.:-]*_[\w.:-]*")
Pair = tuple[str, str, str]


def read_catalogs(entry: Entry, removed: Counter[str]) -> Iterator[Pair]:
    """Yield source, target and origin of every usable message of one entry's catalogs.

    Counts the others in `removed`: untranslated, fuzzy, obsolete, key without English text,
    placeholders that differ, no words. Markup is taken out and placeholders are numbered.
    A wheel without the language yields nothing. Raises DataError for a damaged file.
    """
    (path,) = entry.paths
    language = catalog_language(entry.languages)
    swap = entry.languages[0] == language
    if entry.kind == "whl":
        catalogs = _wheel_catalogs(path, language)
    else:
        catalogs = iter([(entry.name, entry.kind, path.read_bytes())])
    for name, kind, data in catalogs:
        for english, other, line in _messages(_parse(data, kind, f"{path}: {name}"), removed):
            if pair := plain_pair(english, other, removed):
                source, target = reversed(pair) if swap else pair
                yield source, target, f"{name}:{line}"


def _wheel_catalogs(path: Path, language: str) -> Iterator[tuple[str, str, bytes]]:
    """Yield name, kind and bytes of each catalog: its best locale, .po rather than .mo."""
    ranks = {name.lower(): rank for rank, name in enumerate(variants(language))}
    best: dict[tuple[str, str], tuple[int, bool, str]] = {}
    try:
        with zipfile.ZipFile(path) as wheel:
            for name in wheel.namelist():
                found = _IN_WHEEL.fullmatch(name)
                locale = (found["locale"] or found["file"]) if found else ""
                rank = ranks.get(locale.lower().replace("-", "_"))
                if found and rank is not None:
                    catalog = found["root"], found["domain"] or ""
                    candidate = rank, found["kind"] == "mo", name
                    best[catalog] = min(best.get(catalog, candidate), candidate)
            for _, compiled, name in sorted(best.values(), key=lambda choice: choice[2]):
                yield f"{path.name}/{name}", "mo" if compiled else "po", wheel.read(name)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path}: not a readable wheel: {error}") from None


def _parse(data: bytes, kind: str, where: str) -> polib.POFile | polib.MOFile:
    try:
        if kind == "po":
            return polib.pofile(data.decode("utf-8"))
        with tempfile.NamedTemporaryFile(suffix=".mo") as file:  # polib reads .mo by path only
            file.write(data)
            file.flush()
            return polib.mofile(file.name)
    except (OSError, ValueError, struct.error) as error:
        raise DataError(f"{where}: not a valid .{kind} catalog: {error}") from None


def _messages(
    catalog: polib.POFile | polib.MOFile, removed: Counter[str]
) -> Iterator[tuple[str, str, int]]:
    """Yield English text, translation and line of each usable message, plural forms too."""
    form_of_one, forms = _plural_rule(catalog.metadata.get("Plural-Forms", ""))
    for number, entry in enumerate(catalog, 1):
        # A compiled catalog knows no lines, flags or comments: all it holds is in use.
        line = getattr(entry, "linenum", None) or number
        default = _DEFAULT.search(getattr(entry, "comment", ""))
        english = default[1] if default else entry.msgid
        if getattr(entry, "obsolete", False):
            removed["obsolete"] += 1
        elif getattr(entry, "fuzzy", False):
            removed["fuzzy"] += 1
        elif _IDENTIFIER.fullmatch(english):
            removed["identifier"] += 1
        elif not entry.msgid_plural:
            if entry.msgstr.strip():
                yield english, entry.msgstr, line
            else:
                removed["untranslated"] += 1
        else:
            for form, text in sorted(entry.msgstr_plural.items()):
                singular = int(form) == form_of_one and forms > 1
                if text.strip():
                    yield english if singular else entry.msgid_plural, text, line
                else:
                    removed["untranslated"] += 1


def _plural_rule(header: str) -> tuple[int, int]:
    """Return which form stands for exactly one thing, and how many forms there are."""
    found = re.search(r"nplurals\s*=\s*(\d+)\s*;\s*plural\s*=\s*([^;]+)", header)
    if not found:
        return 0, 2
    try:
        return int(gettext.c2py(found[2].strip())(1)), int(found[1])
    except ValueError:
        return 0, int(found[1])
