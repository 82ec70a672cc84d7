"""What a folder is, where it came from, and whether its bytes are intact."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.tree import Tree

from wd.artifacts import MANIFEST, damaged_files, read_manifest
from wd.errors import ArtifactError
from wd.model.sizes import count_parameters


def inspect(folder: Path) -> dict[str, Any]:
    """Describe an artifact or a model directory.

    Raises ArtifactError if the folder is neither, or if it is damaged (all damage is listed).
    """
    is_artifact, is_model = (folder / MANIFEST).is_file(), (folder / "config.json").is_file()
    if not is_artifact and not is_model:
        raise ArtifactError(f"{folder}: neither an artifact (no {MANIFEST}) nor a model directory")
    told: dict[str, Any] = {"path": str(folder.absolute())}
    if is_artifact:
        told |= _artifact(folder)
    if is_model:
        told |= _model(folder)
    return told


def _artifact(folder: Path) -> dict[str, Any]:
    manifest = read_manifest(folder)
    try:
        name = f"{manifest['stage']}/{manifest['label']}-{manifest['hash']}"
        files, inputs = manifest["files"], manifest["inputs"]
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
        "inputs": _lineage(folder.absolute().parent.parent, inputs),
    }


def _lineage(root: Path, inputs: dict[str, str]) -> dict[str, Any]:
    """Return role -> artifact and its own inputs, back to the corpus."""
    return {
        role: {"artifact": name, "present": present, "inputs": _lineage(root, above)}
        for role, name in inputs.items()
        for present, above in [_inputs_of(root / name)]
    }


def _inputs_of(folder: Path) -> tuple[bool, dict[str, str]]:
    if not (folder / MANIFEST).is_file():
        return False, {}
    return True, read_manifest(folder).get("inputs", {})


def _model(folder: Path) -> dict[str, Any]:
    from wd.model.directory import load_model

    config, _ = load_model(folder)
    return {"model": config.model_dump(), "parameters": count_parameters(config)}


def show(told: dict[str, Any], console: Console) -> None:
    """Print a description: a table, then the lineage as a tree."""
    table = Table(box=None, show_header=False)
    for key, value in told.items():
        if key not in ("inputs", "metrics", "model"):
            table.add_row(key, f"{value:,}" if isinstance(value, int) else str(value))
    for group in ("metrics", "model"):
        for key, value in told.get(group, {}).items():
            table.add_row(f"{group}.{key}", str(value))
    console.print(table)
    if "inputs" in told:
        tree = Tree(told["artifact"])
        _grow(tree, told["inputs"])
        console.print(tree)
    console.print("every byte is as the manifest says" if "artifact" in told else "complete")


def _grow(tree: Tree, inputs: dict[str, Any]) -> None:
    for role, source in inputs.items():
        missing = "" if source["present"] else "  (not here any more)"
        _grow(tree.add(f"{role}: {source['artifact']}{missing}"), source["inputs"])
