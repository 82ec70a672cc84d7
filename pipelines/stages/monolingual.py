"""Source text without targets, which the teacher translates beside that of the corpus."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pipelines.context import Run, Work, asked_once
from pipelines.stages.corpus import corpus
from wd.artifacts import Artifact, Metrics
from wd.config import CorpusConfig, RayConfig
from wd.data.partition import Gather, ScatterTexts
from wd.data.parts import read_part
from wd.data.raw import write_raw
from wd.data.schema import part_name
from wd.data.sources import Entry, find_texts
from wd.data.split import Partition, keys_of, part_label
from wd.errors import DataError
from wd.places import Place
from wd.store.shelf import here, push

VERSION = 1


@asked_once
def monolingual(run: Run) -> Artifact:
    """Return the artifact with `train/` parts like those of the corpus; their targets are empty.

    They are numbered after the corpus' own, so that what is made of either may lie in one folder.
    """
    recipe, text = run.recipe, corpus(run)
    config, names = recipe.corpus, recipe.pseudo.monolingual
    entries = find_texts(config, names, recipe.source_language)

    def build(work: Work) -> Metrics:
        told = _build(entries, text, config, recipe.ray, work)
        gone = sum(told["removed"].values())
        run.say(f"monolingual: {told['kept']:,} lines are kept, {gone:,} left out")
        return told

    return run.stage(
        "corpus",
        version=VERSION,
        label=f"{recipe.name}-monolingual",
        place="pseudo",
        config={
            "filters": config.filters,
            "skip_broken_rows": config.skip_broken_rows,
            "part_pairs": config.part_pairs,
            "sha256": [entry.digests() for entry in entries],
        },
        inputs={"corpus": text},
        build=build,
    )


def _build(
    entries: list[Entry], text: Artifact, config: CorpusConfig, ray: RayConfig, work: Work
) -> Metrics:
    from wd.distributed.map import map_parts

    removed: Counter[str] = Counter()
    folder, raw, read = work.scratch / "raw", [], 0
    for part in write_raw(entries, config, here(folder), removed):
        read += pq.read_metadata(part).num_rows
        raw.append(folder / part.name)
        push(raw[-1])
    if not read:
        raise DataError("pseudo.monolingual: no lines: name files that hold some, or none")
    splits = [split for split in text.metrics["pairs"] if split != "train"]
    held_out = _keys(
        [file for split in splits for file in text.files(split)], work.scratch / "held_out.npy"
    )
    known = _keys(text.files("train"), work.scratch / "known.npy")
    partition = Partition(0.0, 0.0, {"train": -(-read // config.part_pairs)})
    scatter = ScatterTexts(config.filters, partition, held_out, known)
    scattered = work.scratch / "sorted"
    for stats in map_parts(scatter, raw, scattered, config=ray):
        removed.update(stats["removed"])
    labels = [Path(part_label("train", index)) for index in range(partition.parts["train"])]
    gather = Gather(scattered, [part.name for part in raw], partition, config.filters)
    gathered = map_parts(gather, labels, work.scratch / "gathered", config=ray)
    first = 1 + max(int(Path(part.name).stem.rpartition("-")[2]) for part in text.files("train"))
    for index, (label, stats) in enumerate(zip(labels, gathered, strict=True), first):
        removed.update(stats["removed"])
        if stats["kept"]:
            work.take(work.scratch / "gathered" / label.name, f"train/{part_name(index)}")
    kept = sum(stats["kept"] for stats in gathered)
    if not kept:
        why = ", ".join(f"{name} {count}" for name, count in removed.most_common() if count)
        raise DataError(f"pseudo.monolingual: every line was filtered away ({why})")
    return {"kept": kept, "removed": dict(sorted(removed.items()))}


def _keys(parts: list[Place], file: Place) -> Place:
    """Write the source keys of the parts, in order, and return the file."""
    found = [keys_of(read_part(Path(part), ["source"])["source"].to_pylist()) for part in parts]
    np.save(here(file), np.unique(np.concatenate([*found, np.zeros(0, np.uint64)])))
    push(file)
    return file
