"""The text that an export is tried on: the test split of its model's corpus."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from wd.artifacts import Artifact, Store, place_at
from wd.errors import ArtifactError
from wd.interop.ctranslate2_check import ProbeText
from wd.manifest import read_manifest

_MOST_LINES = 2000


def probe_text(model: str, folder: Path, root: str) -> ProbeText | None:
    """Return text and references for the model directory that `model` named; None without any.

    There is none for what is no artifact, and where the corpus is not there any more.
    """
    try:
        inputs = read_manifest(folder).get("inputs", {})
    except ArtifactError:
        return None
    for store in _stores(model, folder, root):
        if corpus := _corpus(store, inputs):
            return _read(corpus)
    return None


def _stores(model: str, folder: Path, root: str) -> Sequence[Store]:
    """Return where what a model was made from may lie."""
    if model.startswith("models:/"):
        return [Store(root)]
    if "://" in model:
        return [Store(place_at(model)[0].root)]
    return [Store(str(folder.absolute().parent.parent)), Store(root)]


def _corpus(store: Store, inputs: Mapping[str, str]) -> Artifact | None:
    """Return the nearest corpus upstream that is whole."""
    waiting, seen = list(inputs.values()), set[str]()
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        manifest = store.manifest(name)
        if manifest is None:
            continue
        if manifest.get("stage") == "corpus" and not store.damage(name, manifest):
            return Artifact(store.root, name, manifest)
        waiting += manifest.get("inputs", {}).values()
    return None


def _read(corpus: Artifact) -> ProbeText | None:
    import pyarrow.parquet as pq

    tables = [
        pq.read_table(Path(part), columns=["source", "target"]) for part in corpus.files("test")
    ]
    sources, references = (
        [line for table in tables for line in table[side].to_pylist()][:_MOST_LINES]
        for side in ("source", "target")
    )
    language = corpus.manifest["config"]["languages"][1]
    origin = f"{len(sources)} lines of {corpus.name}"
    return ProbeText(origin, sources, references, language) if sources else None
