"""Ready batches: of the original pairs, and of the teacher's translations."""

from collections.abc import Sequence
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipelines.cli import main
from pipelines.context import Run, Work
from pipelines.corpus import corpus
from pipelines.tokenizer import tokenizer
from wd.artifacts import Artifact, Metrics
from wd.config import RayConfig, ShardsConfig
from wd.data.schema import part_files
from wd.data.shards import longest_kept, write_training_shard, write_validation_shard
from wd.data.tokenizer import Tokenizer
from wd.errors import ArtifactError, DataError

VERSION = 1


def shards(run: Run) -> Artifact:
    """Return the artifact with `train/` and `valid/` batches of the original pairs."""
    recipe, text, pieces = run.recipe, corpus(run), tokenizer(run)

    def build(work: Work) -> Metrics:
        pack = partial(pack_original, pieces.path, recipe.shards)
        train = _map(pack, part_files(text.path / "train"), "train", recipe.ray, work)
        _check(
            train,
            recipe.shards,
            "training pairs are longer",
            "raise shards.max_length or shards.batch_tokens",
        )
        pack = partial(pack_validation, pieces.path, recipe.shards)
        valid = _map(pack, part_files(text.path / "valid"), "valid", recipe.ray, work)
        return {"train": train, "valid": valid}

    return run.stage(
        "shards",
        version=VERSION,
        config={"shards": recipe.shards},
        inputs={"corpus": text, "tokenizer": pieces},
        build=build,
    )


def pseudo_shards(run: Run) -> Artifact:
    """Return the artifact with `train/` batches of the training sources and their hypotheses."""
    from pipelines.pseudo import pseudo  # it needs the teacher, who needs this module

    recipe, text, pieces, said = run.recipe, corpus(run), tokenizer(run), pseudo(run)

    def build(work: Work) -> Metrics:
        pack = partial(pack_pseudo, pieces.path, recipe.shards, said.path)
        train = _map(pack, part_files(text.path / "train"), "train", recipe.ray, work)
        if train["left_out"] and not train["pairs"] and not train["over_long"]:
            raise DataError(
                f"pseudo: none of the teacher's {train['left_out']:.0f} translations is sound "
                "(report.json of the pseudo stage shows some): train the teacher until it "
                "translates, or set pseudo.drop_loops=false"
            )
        _check(
            train,
            recipe.shards,
            "translations of the teacher, or their sources, are longer",
            "train the teacher until it translates, or raise shards.max_length",
        )
        return {"train": train}

    return run.stage(
        "shards",
        version=VERSION,
        label=f"{recipe.name}-pseudo",
        place="pseudo",
        config={"shards": recipe.shards},
        inputs={"corpus": text, "tokenizer": pieces, "pseudo": said},
        build=build,
    )


def pack_original(tokenizer: Path, config: ShardsConfig, part: Path, out: Path) -> dict[str, int]:
    """Worker: a part of the corpus in, its batches out."""
    sources, targets = _columns(part, "source", "target")
    return write_training_shard(sources, targets, Tokenizer.load(tokenizer), config, out)


def pack_validation(tokenizer: Path, config: ShardsConfig, part: Path, out: Path) -> dict[str, int]:
    """Worker: a validation part in, its batches out; no pair is left out."""
    sources, targets = _columns(part, "source", "target")
    return write_validation_shard(sources, targets, Tokenizer.load(tokenizer), config, out)


def pack_pseudo(
    tokenizer: Path, config: ShardsConfig, pseudo: Path, part: Path, out: Path
) -> dict[str, int]:
    """Worker: as `pack_original`, but the targets are the teacher's, matched row for row.

    What the pseudo stage does not keep is left out and counted.
    Raises ArtifactError if the rows of the two parts are not the same pairs in the same order.
    """
    if not (pseudo / part.name).is_file():
        raise ArtifactError(f"{pseudo / part.name}: no translations for {part}")
    ids, sources = _columns(part, "id", "source")
    translated, hypotheses, kept = _columns(pseudo / part.name, "id", "hypothesis", "kept")
    if ids != translated:
        raise ArtifactError(f"{pseudo / part.name}: its rows are not those of {part}")
    counts = write_training_shard(
        list(compress(sources, kept)),
        list(compress(hypotheses, kept)),
        Tokenizer.load(tokenizer),
        config,
        out,
    )
    return {**counts, "left_out": len(kept) - sum(kept)}


def _columns(part: Path, *columns: str) -> list[list[Any]]:
    table = pq.read_table(part, columns=list(columns))
    return [table[name].to_pylist() for name in columns]


def _map(
    pack: Any, parts: Sequence[Path], split: str, ray: RayConfig, work: Work
) -> dict[str, float]:
    """Pack every part; return the counts' sums and the share of padding in the targets."""
    from wd.distributed.map import map_parts

    stats = map_parts(pack, parts, work.scratch / split, config=ray)
    (work.out / split).mkdir()
    for part in part_files(work.scratch / split):
        part.rename(work.out / split / part.name)
    total = {key: sum(part[key] for part in stats) for key in stats[0]}
    padded = total.pop("padded_target_tokens")
    return {**total, "target_padding": 1 - total["target_tokens"] / max(1, padded)}


def _check(counts: dict[str, float], config: ShardsConfig, what: str, advice: str) -> None:
    if not counts["pairs"]:
        raise DataError(
            f"shards: all {counts['over_long']} {what} than {longest_kept(config)} pieces: {advice}"
        )


if __name__ == "__main__":
    main("shards")
