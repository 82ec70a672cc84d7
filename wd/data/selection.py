"""Which of the teacher's translations students are trained on, of those that its stage keeps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from wd.data.parts import read_part
from wd.places import Place


@dataclass(frozen=True)
class Selection:
    """What is left out of every part alike."""

    lowest: float | None = None
    """Translations with lower scores are."""
    deduplicate: bool = False
    """All but the first of equal pairs are."""

    def kept(
        self,
        sources: Sequence[str],
        hypotheses: Sequence[str],
        scores: Sequence[float],
        kept: Sequence[bool],
    ) -> tuple[list[bool], dict[str, int]]:
        """Return which rows of a part stay of those that are `kept`, and how many go for what.

        What scores too low goes first. Equal sources lie in one part, and so do equal pairs.
        """
        good = list(kept)
        if self.lowest is not None:
            good = [one and score >= self.lowest for one, score in zip(good, scores, strict=True)]
        trimmed, single = sum(kept) - sum(good), good
        if self.deduplicate:
            seen: set[tuple[str, str]] = set()
            single = []
            for pair, one in zip(zip(sources, hypotheses, strict=True), good, strict=True):
                single.append(one and pair not in seen)
                seen |= {pair} if one else set()
        return single, {"trimmed": trimmed, "duplicate": sum(good) - sum(single)}


def lowest_score(parts: Sequence[Place], trim: float) -> float | None:
    """Return the score below which lie the lowest of all kept translations: a share of `trim`.

    None if nothing is to be trimmed. Of equal scores at the border all stay, so that the order of
    the rows decides nothing. It takes four bytes of memory for each translation.
    """
    if not trim:
        return None
    found = []
    for part in parts:
        table = read_part(part, ["score", "kept"])
        found.append(table["score"].filter(pc.fill_null(table["kept"], False)).to_numpy())
    scores = np.concatenate([*found, np.zeros(0, np.float32)])
    if not len(scores):
        return None
    border = int(trim * len(scores))
    return float(np.partition(scores, border)[border])
