"""gettext message catalogs (.po, .mo, or all that a Python wheel holds) as parallel text."""

import gettext
import lzma
import re
import struct
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from wd.data.languages import catalog_language, variants
from wd.data.markup import plain_pair
from wd.data.packed import foreign, read_whole
from wd.data.sources import Entry
from wd.errors import DataError

if TYPE_CHECKING:  # imported where there is a catalog to read: other corpora need it not
    import polib

_IN_WHEEL = re.compile(
    r"(?P<root>(?:(?!LC_MESSAGES)[^/]+/)*?)(?:(?P<locale>[^/]+)/LC_MESSAGES/(?P<domain>[^/]+)|(?P<file>[^/]+))"
    r"\.(?P<kind>po|mo)"
)
# Some projects use identifiers as keys and keep the English text in a comment.
_DEFAULT = 'Default: "'
_IDENTIFIER = re.compile(r"(?:[^\W_]|[.:-])*+_[\w.:-]*+")
_LARGEST = 1 << 28
"""Bytes of catalogs that a compressed file or a wheel may hold: more is no catalog's text."""
_ZIP_ERRORS = (
    *(zipfile.BadZipFile, OSError, EOFError, zlib.error, lzma.LZMAError),  # damaged
    *(RuntimeError, ValueError, struct.error),  # encrypted, unknown method; impossible numbers
)
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
        catalogs = iter([(entry.name, entry.kind, read_whole(path, _LARGEST))])
    for name, kind, data in catalogs:
        where = f"{path}: {name}" if entry.kind == "whl" else str(path)
        for english, other, line in _messages(_parse(data, kind, where), where, removed):
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
            if sum(wheel.getinfo(name).file_size for *_, name in best.values()) > _LARGEST:
                raise DataError(
                    f"{path}: not a readable wheel: its catalogs of one language claim to be "
                    f"larger than {_LARGEST >> 20} MiB"
                )
            for _, compiled, name in sorted(best.values(), key=lambda choice: choice[2]):
                yield f"{path.name}/{name}", "mo" if compiled else "po", wheel.read(name)
    except _ZIP_ERRORS as error:
        raise DataError(f"{path}: not a readable wheel: {error}; fetch it again") from None


def _parse(data: bytes, kind: str, where: str) -> "polib.POFile | polib.MOFile":
    import polib

    # By path: a text polib may take for a file's name, and it splits it at more than line ends.
    with tempfile.NamedTemporaryFile(suffix=f".{kind}") as file:
        try:
            file.write(_checked_text(data) if kind == "po" else _checked_tables(data))
            file.flush()
            if kind == "po":
                return polib.pofile(file.name, encoding="utf-8")
            return polib.mofile(file.name)
        except (OSError, ValueError, LookupError, struct.error) as error:
            reason = str(error).replace(f"{file.name} ", "")
            raise DataError(f"{where}: not a valid .{kind} catalog: {reason}") from None


def _checked_text(data: bytes) -> bytes:
    """Return the bytes of a .po file without byte order marks; raises ValueError if not text."""
    if kind := foreign(data):
        raise ValueError(f"it holds {kind}")
    text = data.decode("utf-8")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"a NUL character in line {line}")
    return re.sub(rb"^(?:\xef\xbb\xbf)+", b"", data, flags=re.MULTILINE)


def _checked_tables(data: bytes) -> bytes:
    """Return the bytes of a .mo file; raises ValueError if its strings claim more than these.

    They may all name the same bytes, so that a small file unpacks to any size.
    """
    order = ">" if data[:4] == b"\x95\x04\x12\xde" else "<"
    count, *tables = struct.unpack(f"{order}8x3I", data[:20])
    rows = (data[start : start + 8 * count] for start in tables)
    lengths = (length for row in rows for length, _ in struct.iter_unpack(f"{order}II", row))
    if sum(lengths) > 2 * len(data):
        raise ValueError("its strings claim to be longer than the file")
    return data


def _messages(
    catalog: "polib.POFile | polib.MOFile", where: str, removed: Counter[str]
) -> Iterator[tuple[str, str, int]]:
    """Yield English text, translation and line of each usable message, plural forms too."""
    form_of_one, forms = _plural_rule(catalog.metadata.get("Plural-Forms", ""), where)
    for number, entry in enumerate(catalog, 1):
        # A compiled catalog knows no lines, flags or comments: all it holds is in use.
        line = getattr(entry, "linenum", None) or number
        default = _default_text(getattr(entry, "comment", ""))
        english = entry.msgid if default is None else default
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


def _default_text(comment: str) -> str | None:
    """Return the English text that a comment gives, or None."""
    _, found, text = comment.partition(_DEFAULT)
    text = text.rstrip()
    return text[:-1] if found and text.endswith('"') else None


def _plural_rule(header: str, where: str) -> tuple[int, int]:
    """Return which form stands for exactly one thing, and how many forms there are."""
    found = re.search(r"nplurals\s*=\s*(\d{1,3})\s*;\s*plural\s*=\s*([^;]+)", header)
    if not found:
        return 0, 2
    try:
        return int(gettext.c2py(found[2].strip())(1)), int(found[1])
    except ZeroDivisionError:
        rule = found[2].strip()
        raise DataError(f"{where}: its plural rule, {rule}, divides by zero: mend it") from None
    except ValueError:
        return 0, int(found[1])
