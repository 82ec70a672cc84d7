"""Raw parallel text in; filtered, deduplicated and split Parquet parts out.

The driver reads the files once, in order, into raw parts. Ray Data then filters and scatters
them by a hash of the source, and gathers each part of the corpus from there.
"""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pipelines.context import Run, Work, asked_once
from wd.artifacts import Artifact, Metrics
from wd.config import CorpusConfig, RayConfig
from wd.data.given import write_given
from wd.data.partition import Gather, Scatter
from wd.data.raw import write_raw
from wd.data.schema import part_name
from wd.data.sources import SPLITS, Entry, Split, find_entries
from wd.data.split import choose_partition, part_label
from wd.data.wheels import Package, cached_wheel, fetch, wheels_of
from wd.errors import DataError

VERSION = 2
Entries = dict[Split, list[Entry]]


@asked_once
def corpus(run: Run) -> Artifact:
    """Return the artifact with `train/`, `valid/` and `test/` parts.

    Its identity covers the files' bytes, not where they lie.
    """
    recipe, config = run.recipe, run.recipe.corpus
    packages = [Package.parse(text) for text in config.packages]
    wheels = wheels_of(packages, [*config.train, *config.valid, *config.test])
    languages = (recipe.source_language, recipe.target_language)
    entries = find_entries(config, languages, {name: cached_wheel(name) for name in wheels})

    def digests(entry: Entry) -> list[str]:
        return [wheels[entry.name].sha256] if entry.name in wheels else entry.digests()

    def build(work: Work) -> Metrics:
        fetch(wheels)
        return _build(entries, config, recipe.ray, work)

    return run.stage(
        "corpus",
        version=VERSION,
        config={
            "corpus": config.without("dir", "hint", "packages"),
            "languages": list(languages),
            "sha256": {split: [digests(entry) for entry in entries[split]] for split in SPLITS},
        },
        inputs={},
        build=build,
    )


def _build(entries: Entries, config: CorpusConfig, ray: RayConfig, work: Work) -> Metrics:
    from wd.distributed.map import map_parts

    removed: Counter[str] = Counter()
    given, keys = write_given(entries, config, work.out, removed)
    held_out = work.scratch / "held_out.npy"
    np.save(held_out, np.array(sorted(keys), np.uint64))
    raw = list(write_raw(entries["train"], config, work.scratch / "raw", removed))
    read = sum(pq.read_metadata(part).num_rows for part in raw)
    read_in_all = read + removed.total() + sum(given.values())
    if not read:
        names = ", ".join(config.train)
        raise DataError(f"corpus.train ({names}) holds no sentence pairs. {config.hint}".strip())
    partition = choose_partition(config, read)
    scatter = Scatter(config.filters, partition, held_out)
    scattered = work.scratch / "scattered"
    for stats in map_parts(scatter, raw, scattered, config=ray):
        removed.update(stats["removed"])
    labels = [Path(name) for name in partition.names]
    gather = Gather([scattered / part.name for part in raw], config.filters)
    stats_of = map_parts(gather, labels, work.scratch / "gathered", config=ray)
    pairs = dict(given)
    for split, count in partition.parts.items():
        pairs[split] = pairs.get(split, 0) + _publish(split, count, work)
    for stats in stats_of:
        removed.update(stats["removed"])
    _check(pairs, removed, config)
    return {"read": read_in_all, "pairs": pairs, "removed": dict(sorted(removed.items()))}


def _publish(split: Split, count: int, work: Work) -> int:
    """Move a split's gathered parts into the artifact, empty ones excepted; return its pairs."""
    pairs = 0
    (work.out / split).mkdir()
    for index in range(count):
        part = work.scratch / "gathered" / part_label(split, index)
        rows = pq.read_metadata(part).num_rows
        if rows:
            shutil.move(part, work.out / split / part_name(index))
        pairs += rows
    return pairs


def _check(pairs: dict[Split, int], removed: Counter[str], config: CorpusConfig) -> None:
    reasons = ", ".join(f"{name} {count}" for name, count in removed.most_common() if count)
    if not pairs.get("train") and max(removed, key=removed.__getitem__, default="") == "held_out":
        raise DataError(
            "corpus.train holds no pair whose source is not also in corpus.valid or corpus.test: "
            "are they the same files?"
        )
    if not pairs.get("train"):
        raise DataError(
            f"every training pair was filtered away ({reasons}): check that the languages are the "
            "right way round and relax corpus.filters"
        )
    for split in ("valid", "test"):
        if not pairs.get(split):
            raise DataError(
                f"corpus: no pairs to {'validate' if split == 'valid' else 'test'} on: raise "
                f"corpus.{split}_fraction (it is {getattr(config, f'{split}_fraction'):g} of "
                f"{sum(pairs.values())} pairs) or name files in corpus.{split}"
            )
