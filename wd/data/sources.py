"""Finding the files that a recipe's corpus names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from wd.config import CorpusConfig
from wd.data.languages import catalog_language, variants
from wd.errors import DataError
from wd.files import known_sha256

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Kind = Literal["text", "tsv", "parquet", "po", "mo", "whl"]


@dataclass(frozen=True)
class Entry:
    """One entry of `corpus.train`, `.valid` or `.test` with the file or files it stands for."""

    name: str
    """As the recipe has it."""
    kind: Kind
    paths: tuple[Path, ...]
    """Two for aligned plain text (source, target), else one."""
    languages: tuple[str, str]
    """Source and target language."""

    def digests(self) -> list[str]:
        """Return the SHA-256 of each file."""
        return [known_sha256(path) for path in self.paths]


def find_entries(
    config: CorpusConfig, languages: tuple[str, str], wheels: Mapping[str, Path]
) -> dict[Split, list[Entry]]:
    """Return each split's entries in the recipe's order.

    `wheels` says where the wheels of `corpus.packages` are (they need not be there yet).
    Raises DataError with the recipe's hint for a file that does not exist.
    """
    if not config.train:
        raise DataError(f"corpus.train names no files. {config.hint}".strip())
    names: dict[Split, tuple[str, ...]] = {
        "train": config.train,
        "valid": config.valid,
        "test": config.test,
    }
    return {
        split: [_entry(config, name, languages, wheels) for name in names[split]]
        for split in SPLITS
    }


def _entry(
    config: CorpusConfig, name: str, languages: tuple[str, str], wheels: Mapping[str, Path]
) -> Entry:
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
        paths = (_existing(config, [name]),)
    return Entry(name, kind, paths, languages)


def _kind(name: str) -> Kind:
    ending = name.removesuffix(".gz").rsplit(".", 1)[-1].lower()
    catalogs: tuple[Kind, ...] = ("po", "mo", "whl")
    for kind in catalogs:
        if ending == kind:
            return kind
    if "{lang}" in name:
        return "text"
    if ending == "tsv":
        return "tsv"
    if ending == "parquet":
        return "parquet"
    raise DataError(
        f"corpus file {name}: unknown format; it ends in .tsv, .parquet, .po, .mo or .whl, or "
        "holds {lang} and stands for two aligned text files"
    )


def _existing(config: CorpusConfig, names: list[str]) -> Path:
    """Return the first of the files that exists, as named or gzipped."""
    folder = Path(config.dir or ".").expanduser().absolute()
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    where = f"{folder / names[0]}: no such file"
    if config.dir is None:
        where += " (corpus.dir is not set)"
    raise DataError(f"{where}. {config.hint}".strip())
