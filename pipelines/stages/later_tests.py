"""Test sets that are named once all is trained: they change none of it."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.context import Run, Work, asked_once
from pipelines.stages.pseudo import sources
from wd.artifacts import Artifact, Metrics
from wd.config import Recipe
from wd.data.given import write_given
from wd.data.overlap import Overlap
from wd.data.parts import read_part
from wd.data.schema import part_files
from wd.data.sources import Entry, entries_of
from wd.data.split import keys_of
from wd.store.shelf import here, push

VERSION = 1


@asked_once
def later_tests(run: Run) -> Artifact:
    """Return the artifact with a folder `test-NAME/` of each set of `evaluation.tests`.

    Its metrics count each set's pairs, and those whose source stands in the training text.
    """
    recipe, config, texts = run.recipe, run.recipe.corpus, sources(run)
    languages = (recipe.source_language, recipe.target_language)
    entries = {
        f"test-{name}": entries_of(config, files, languages)
        for name, files in recipe.evaluation.tests.items()
    }

    def build(work: Work) -> Metrics:
        told = _build(recipe, entries, texts, work)
        for name, count in told["in_training"].items():
            if count:
                run.say(f"{name}: {count:,} of {told['pairs'][name]:,} stand in the training text")
        return told

    return run.stage(
        "corpus",
        version=VERSION,
        label=f"{recipe.name}-tests",
        place="evaluation",
        config={
            "languages": list(languages),
            "columns": [config.source_column, config.target_column],
            "skip_broken_rows": config.skip_broken_rows,
            "sha256": {name: [one.digests() for one in found] for name, found in entries.items()},
        },
        inputs=texts,
        build=build,
    )


def _build(
    recipe: Recipe,
    entries: Mapping[str, Sequence[Entry]],
    texts: Mapping[str, Artifact],
    work: Work,
) -> Metrics:
    from wd.distributed.map import map_parts

    removed: Counter[str] = Counter()
    pairs, _ = write_given({**entries, "valid": ()}, recipe.corpus, work.out, removed)
    tables = {name: map(read_part, part_files(work.out / name)) for name in pairs}
    keys = {
        name: np.concatenate([keys_of(table["source"].to_pylist()) for table in several])
        for name, several in tables.items()
    }
    asked = work.scratch / "asked.npy"
    np.save(here(asked), np.unique(np.concatenate(list(keys.values()))))
    push(asked)
    parts = [part for text in texts.values() for part in text.files("train")]
    told = map_parts(Overlap(asked), parts, work.scratch / "found", config=recipe.ray)
    found = np.array([key for stats in told for key in stats["found"]], np.uint64)
    return {
        "pairs": pairs,
        "in_training": {name: int(np.isin(each, found).sum()) for name, each in keys.items()},
        "removed": dict(sorted(removed.items())),
    }
