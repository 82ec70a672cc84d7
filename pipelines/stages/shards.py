"""Ready batches of the original pairs."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pipelines.context import Run, Work, asked_once
from pipelines.stages.corpus import corpus
from pipelines.stages.tokenizer import tokenizer
from wd.artifacts import Artifact, Metrics
from wd.config import RayConfig, ShardsConfig
from wd.data.shards import longest_kept, pack_original, pack_validation
from wd.errors import DataError
from wd.places import Place

VERSION = 1
_LOG = logging.getLogger(__name__)


@asked_once
def shards(run: Run) -> Artifact:
    """Return the artifact with `train/` and `valid/` batches of the original pairs."""
    recipe, text, pieces = run.recipe, corpus(run), tokenizer(run)

    def build(work: Work) -> Metrics:
        pack = partial(pack_original, pieces.place, recipe.shards)
        train = packed(pack, text.files("train"), "train", recipe.ray, work)
        check_kept(
            train,
            recipe.shards,
            "training pairs are longer",
            "raise shards.max_length or shards.batch_tokens",
        )
        pack = partial(pack_validation, pieces.place, recipe.shards)
        valid = packed(pack, text.files("valid"), "valid", recipe.ray, work)
        warn_of_unknown({"train": train, "valid": valid})
        return {"train": train, "valid": valid}

    return run.stage(
        "shards",
        version=VERSION,
        config={"shards": recipe.shards},
        inputs={"corpus": text, "tokenizer": pieces},
        build=build,
    )


def packed(
    pack: Any, parts: Sequence[Place], split: str, ray: RayConfig, work: Work
) -> dict[str, float]:
    """Pack every part; return the counts' sums and the share of padding in the targets."""
    from wd.distributed.map import map_parts

    stats = map_parts(pack, parts, work.scratch / split, config=ray)
    for part in parts:
        work.take(work.scratch / split / part.name, f"{split}/{part.name}")
    total = {key: sum(part[key] for part in stats) for key in stats[0]}
    padded = total.pop("padded_target_tokens")
    return {**total, "target_padding": 1 - total["target_tokens"] / max(1, padded)}


def check_kept(counts: dict[str, float], config: ShardsConfig, what: str, advice: str) -> None:
    """Raise DataError, which says `what` does not fit and what to do, if no pair is left."""
    if not counts["pairs"]:
        raise DataError(
            f"shards: all {counts['over_long']} {what} than {longest_kept(config)} pieces: {advice}"
        )


def warn_of_unknown(counts: Mapping[str, Mapping[str, float]]) -> None:
    """Warn once of the splits whose text has characters that the tokenizer does not know."""
    unknown = {
        f"{split} {side}": int(count[f"{side}_unknown"])
        for split, count in counts.items()
        for side in ("source", "target")
        if count[f"{side}_unknown"]
    }
    if unknown:
        listed = ", ".join(f"{number} in the {text} text" for text, number in unknown.items())
        _LOG.warning(
            "pieces that stand for characters which the tokenizer does not know: %s. A model can "
            "neither read nor write these: set tokenizer.byte_fallback: true, or raise "
            "tokenizer.character_coverage or tokenizer.training_sentences",
            listed,
        )
