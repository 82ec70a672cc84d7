"""Finding the files that a recipe's corpus names."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from wd.config import CorpusConfig
from wd.data.languages import catalog_language, variants
from wd.data.packed import PACKINGS, readable, without_packing
from wd.errors import ConfigError, DataError
from wd.files import known_sha256

Split = Literal["train", "valid", "test"]
Kind = Literal["text", "lines", "tsv", "parquet", "po", "mo", "whl"]
_ENDINGS: tuple[Kind, ...] = ("tsv", "parquet", "po", "mo", "whl")
_WITH_BOTH = ("tsv", "parquet")
_PACKED_INSIDE = ("parquet", "whl")
_SUPPORTED = (
    "what is read: two aligned text files whose name holds {lang}, .tsv, .po and .mo, all of these "
    f"also compressed ({', '.join(PACKINGS)}), .parquet and .whl"
)
_FOREIGN = {
    **dict.fromkeys(("sgm", "sgml"), "SGML (`sacrebleu --echo` has published test sets as text)"),
    **dict.fromkeys(("xml", "tmx", "xlf", "xliff"), "XML"),
    **dict.fromkeys(("htm", "html"), "HTML"),
    **dict.fromkeys(("json", "jsonl"), "JSON"),
    **dict.fromkeys(("csv",), "CSV"),
    **dict.fromkeys(("zip", "tar", "tgz"), "an archive"),
}
"""By its ending, what is no plain text although its name may hold {lang}."""


@dataclass(frozen=True)
class Entry:
    """One entry of `corpus.train`, `.valid` or `.test` with the file or files it stands for."""

    name: str
    """As the recipe has it."""
    kind: Kind
    paths: tuple[Path, ...]
    """Two for aligned plain text (source, target), else one; of `lines` it holds sources alone."""
    languages: tuple[str, str]
    """Source and target language."""

    def digests(self) -> list[str]:
        """Return the SHA-256 of each file; raises DataError if one cannot be read."""
        found = []
        for path in self.paths:
            with readable(path):
                found.append(known_sha256(path))
        return found


def find_entries(
    config: CorpusConfig, languages: tuple[str, str], wheels: Mapping[str, Path]
) -> dict[str, list[Entry]]:
    """Return each split's entries in the recipe's order; further test sets are `test-NAME`.

    `wheels` says where the wheels of `corpus.packages` are (they need not be there yet).
    Raises DataError with the recipe's hint for a file that does not exist, and says which formats
    are read if it is of another.
    """
    if not config.train:
        raise DataError(f"corpus.train names no files. {config.hint}".strip())
    names = {"train": config.train, "valid": config.valid, "test": (), **config.tests}
    return {split: entries_of(config, files, languages, wheels) for split, files in names.items()}


def entries_of(
    config: CorpusConfig,
    names: Sequence[str],
    languages: tuple[str, str],
    wheels: Mapping[str, Path] = MappingProxyType({}),
) -> list[Entry]:
    """Return the entries that some names below `corpus.dir` stand for; raises as `find_entries`."""
    return [_entry(config, name, languages, wheels) for name in names]


def find_texts(config: CorpusConfig, names: Sequence[str], language: str) -> list[Entry]:
    """Return plain text files of one language; {lang} in a name stands for its code.

    Raises DataError for a file that does not exist, or that is none of plain text.
    """
    found = []
    for name in names:
        ending = without_packing(name).rpartition(".")[2].lower()
        if ending in _FOREIGN or ending in _ENDINGS:
            raise DataError(
                f"pseudo.monolingual: {name}: what is read here is plain text, a sentence a line, "
                f"also compressed ({', '.join(PACKINGS)})"
            )
        path = _existing(config, [name.replace("{lang}", language)])
        found.append(Entry(name, "lines", (path,), (language, language)))
    return found


def _entry(
    config: CorpusConfig, name: str, languages: tuple[str, str], wheels: Mapping[str, Path]
) -> Entry:
    for text in (name, config.dir or ""):
        if "\0" in text:
            raise ConfigError(f"corpus: {text!r}: a file's name holds no NUL character")
    kind = _kind(name)
    paths: tuple[Path, ...]
    if kind == "whl" and name in wheels:
        paths = (wheels[name],)
    elif kind == "text":
        paths = tuple(_existing(config, [name.replace("{lang}", lang)]) for lang in languages)
    elif kind in ("po", "mo"):
        locales = variants(catalog_language(languages))
        paths = (_existing(config, [name.replace("{lang}", locale) for locale in locales]),)
    else:
        paths = (_existing(config, [name], () if kind in _PACKED_INSIDE else PACKINGS),)
    return Entry(name, kind, paths, languages)


def _kind(name: str) -> Kind:
    stem = without_packing(name)
    ending = stem.rpartition(".")[2].lower()
    if ending in _FOREIGN:
        raise DataError(f"corpus file {name}: {_FOREIGN[ending]} is not read; {_SUPPORTED}")
    if ending in _PACKED_INSIDE and stem != name:
        raise DataError(f"corpus file {name}: a .{ending} file is compressed inside: unpack it")
    if ending in _WITH_BOTH and "{lang}" in name:
        raise DataError(
            f"corpus file {name}: a .{ending} file holds both languages: its name holds no {{lang}}"
        )
    for kind in _ENDINGS:
        if ending == kind:
            return kind
    if "{lang}" in name:
        return "text"
    raise DataError(f"corpus file {name}: unknown format; {_SUPPORTED}")


def _existing(config: CorpusConfig, names: list[str], packings: Collection[str] = PACKINGS) -> Path:
    """Return the first of the files that exists, as named or compressed."""
    try:
        folder = Path(config.dir or ".").expanduser().absolute()
    except RuntimeError:
        raise ConfigError(f"corpus.dir: {config.dir}: there is no such home folder") from None
    for name in names:
        for packing in ("", *packings):
            path = folder / f"{name}{packing}"
            with readable(path):
                if path.is_file():
                    return path
    where = f"{folder / names[0]}: no such file"
    if config.dir is None:
        where += " (corpus.dir is not set)"
    raise DataError(f"{where}. {config.hint}".strip())
