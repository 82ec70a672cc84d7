"""Where a model's text lies: the artifacts that it was made from."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from wd.artifacts import Artifact, Store, place_at
from wd.errors import ArtifactError
from wd.interop.ctranslate2_check import ProbeText
from wd.manifest import read_manifest
from wd.places import Place

_MOST_LINES = 2000


def probe_text(model: str, folder: Path, root: str) -> ProbeText | None:
    """Return test sources and references for the model directory that `model` named.

    There are none, and so None, for what is no artifact, where the corpus is not there any more,
    and where it has no test split.
    """
    corpus = _upstream(model, folder, root, "corpus")
    if corpus is None:
        return None
    rows = [row for part in corpus.files("test") for row in _rows(part, "source", "target")]
    language = corpus.manifest["config"]["languages"][1]
    chosen = rows[:_MOST_LINES]
    origin = f"{len(chosen)} lines of {corpus.name}"
    sources, references = [one for one, _ in chosen], [one for _, one in chosen]
    return ProbeText(origin, sources, references, language) if chosen else None


def training_pairs(model: str, folder: Path, root: str) -> Iterator[tuple[str, str]] | None:
    """Return the sources that a model was trained on, with its teacher's translations of them.

    Where no teacher translated, with the references; None without any.
    """
    said = _upstream(model, folder, root, "pseudo")
    if said is None:
        corpus = _upstream(model, folder, root, "corpus")
        return _pairs(corpus) if corpus else None
    texts = [said.manifest["inputs"].get(role) for role in ("corpus", "monolingual")]
    return _translated([Artifact(said.root, name) for name in texts if name], said)


def _pairs(corpus: Artifact) -> Iterator[tuple[str, str]]:
    for part in corpus.files("train"):
        yield from _rows(part, "source", "target")


def _translated(texts: Sequence[Artifact], said: Artifact) -> Iterator[tuple[str, str]]:
    for part in (part for text in texts for part in text.files("train")):
        hypotheses = _rows(said.place / part.name, "hypothesis", "kept")
        for (source,), (hypothesis, kept) in zip(_rows(part, "source"), hypotheses, strict=True):
            if kept:
                yield source, hypothesis


def _rows(part: Place, *columns: str) -> Iterator[tuple[Any, ...]]:
    from wd.data.parts import read_part

    table = read_part(part, columns)
    return zip(*(table[column].to_pylist() for column in columns), strict=True)


def _upstream(model: str, folder: Path, root: str, stage: str) -> Artifact | None:
    """Return the nearest artifact of a stage that the model directory was made from."""
    try:
        inputs = read_manifest(folder).get("inputs", {})
    except ArtifactError:
        return None
    stores = _stores(model, folder, root)
    return next(filter(None, (_nearest(store, inputs, stage) for store in stores)), None)


def _stores(model: str, folder: Path, root: str) -> Sequence[Store]:
    """Return where what a model was made from may lie."""
    if model.startswith("models:/"):
        return [Store(root)]
    if "://" in model:
        return [Store(place_at(model)[0].root)]
    return [Store(str(folder.absolute().parent.parent)), Store(root)]


def _nearest(store: Store, inputs: Mapping[str, str], stage: str) -> Artifact | None:
    """Return the nearest artifact of a stage upstream that is whole.

    Text without translations, which is of the corpus' stage too, has no languages: it is not meant.
    """
    waiting, seen = list(inputs.values()), set[str]()
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        manifest = store.manifest(name)
        if manifest is None:
            continue
        is_meant = stage != "corpus" or "languages" in manifest["config"]
        if manifest.get("stage") == stage and is_meant and not store.damage(name, manifest):
            return Artifact(store.root, name, manifest)
        waiting += manifest.get("inputs", {}).values()
    return None
