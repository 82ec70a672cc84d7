"""What a folder is, where it came from, and whether its bytes are intact."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.tree import Tree

from pipelines.tools.export import EXPORT
from pipelines.tools.model_folder import model_folder
from wd.artifacts import Store, place_at
from wd.errors import ArtifactError
from wd.manifest import MANIFEST, damaged_files, read_manifest
from wd.model.sizes import count_parameters


def place_of(path: str, root: str = "artifacts") -> tuple[Path, Store | None]:
    """Return the folder that a path, an artifact's name or `models:/NAME@ALIAS` means.

    A damaged artifact's too: it is for `inspect` to say what is wrong with it. Beside it the store
    with what it was made from, where that is not the folder's own.
    """
    if path.startswith("models:/"):
        return model_folder(path, root), Store(root)
    if "://" in path:
        return model_folder(path), Store(place_at(path)[0].root)
    if "://" in root:
        return model_folder(path, root), Store(root)
    named = Path(Store(root).root, path)
    return Path(path) if Path(path).exists() or not named.is_dir() else named, None


def inspect(folder: Path, store: Store | None = None) -> dict[str, Any]:
    """Describe an artifact or a model directory; what it was made from is in `store`.

    Raises ArtifactError if the folder is neither, or if it is damaged (all damage is listed).
    """
    is_artifact, is_model = (folder / MANIFEST).is_file(), (folder / "config.json").is_file()
    if not is_artifact and not is_model:
        raise ArtifactError(f"{folder}: neither an artifact (no {MANIFEST}) nor a model directory")
    description: dict[str, Any] = {"path": str(folder.absolute())}
    if is_artifact:
        description |= _artifact(folder, store or Store(str(folder.absolute().parent.parent)))
    if is_model and description.get("stage") != EXPORT:
        description |= _model(folder)
    return description


def _artifact(folder: Path, store: Store) -> dict[str, Any]:
    manifest = read_manifest(folder)
    try:
        name = f"{manifest['stage']}/{manifest['label']}-{manifest['hash']}"
        files, inputs = manifest["files"], manifest["inputs"]
        lineage = _lineage(store, inputs)
        damage = damaged_files(folder, manifest)
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{folder / MANIFEST}: damaged: it lacks {error}") from None
    if damage:
        raise ArtifactError(
            f"{folder}: damaged: {'; '.join(damage)}. Remove the folder and run its stage again"
        )
    return {
        "artifact": name,
        "stage": manifest["stage"],
        "files": len(files),
        "bytes": sum(file["bytes"] for file in files.values()),
        "created": manifest.get("created"),
        "seconds": manifest.get("seconds"),
        "commit": manifest.get("commit"),
        "metrics": manifest.get("metrics", {}),
        "inputs": inputs,
        "lineage": lineage,
    }


def _lineage(store: Store, inputs: Mapping[str, str]) -> dict[str, Any]:
    """Return every artifact upstream: whether it is still there and whole, and its own inputs.

    Whole: every file has its size; inspect that artifact itself to have the bytes checked.
    """
    lineage: dict[str, Any] = {}
    waiting = list(inputs.values())
    while waiting:
        name = waiting.pop(0)
        if name not in lineage:
            found = store.manifest(name)
            manifest = found or {"files": {}}
            damage = store.damage(name, manifest)
            above = manifest.get("inputs", {})
            lineage[name] = {"present": found is not None, "damage": damage, "inputs": above}
            waiting += above.values()
    return lineage


def _model(folder: Path) -> dict[str, Any]:
    from wd.data.tokenizer import Tokenizer
    from wd.model.directory import load_model

    config, _ = load_model(folder)
    Tokenizer.load(folder)
    return {"model": config.model_dump(), "parameters": count_parameters(config)}


def show(description: Mapping[str, Any], console: Console) -> None:
    """Print a description: a table, then the lineage as a tree."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in _flat(description, skip=("inputs", "lineage")):
        table.add_row(key, f"{value:,}" if type(value) is int else str(value))
    console.print(table)
    if "artifact" not in description:
        return console.print("complete")
    tree = Tree(description["artifact"])
    _grow(tree, description["inputs"], description["lineage"], set())
    console.print(tree)
    console.print("intact: every byte of this folder is as its manifest says")


def _flat(description: Mapping[str, Any], skip: Sequence[str] = ()) -> Iterator[tuple[str, Any]]:
    """Yield dotted keys and single values; lists (histories) are for `--json`."""
    for key, value in description.items():
        if isinstance(value, Mapping) and key not in skip:
            yield from ((f"{key}.{below}", single) for below, single in _flat(value))
        elif not isinstance(value, Mapping | list):
            yield key, value


def _grow(
    tree: Tree, inputs: Mapping[str, str], lineage: Mapping[str, Any], seen: set[str]
) -> None:
    for role, name in inputs.items():
        source = lineage[name]
        state = "; ".join(source["damage"]) if source["present"] else "not here any more"
        branch = tree.add(f"{role}: {name}" + (f"  ({state})" if state else ""))
        if name not in seen:  # an artifact that many need shows its own inputs once
            seen.add(name)
            _grow(branch, source["inputs"], lineage, seen)
