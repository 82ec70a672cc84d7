"""Ids, and the split by source: equal sources always fall on the same side."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import Any

import numpy as np

from wd.config import CorpusConfig
from wd.data.sources import Split

_MARKS = range(0x300, 0x20000)
"""Where Unicode has its combining marks."""


def pair_id(source: str, target: str) -> str:
    """Return 16 hex digits of a hash of the pair."""
    return blake2b(f"{source}\n{target}".encode(), digest_size=8).hexdigest()


def source_key(source: str) -> int:
    """Return a 64-bit hash of the source, blind to case, punctuation and character width."""
    folded = source if source.isascii() else unicodedata.normalize("NFKC", source)
    words = _not_words().sub(" ", folded.casefold()).strip()
    return int.from_bytes(blake2b((words or source).encode(), digest_size=8).digest(), "little")


def keys_of(sources: Iterable[str]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Return the key of each source, in their order."""
    return np.array([source_key(source) for source in sources], np.uint64)


@cache
def _not_words() -> re.Pattern[str]:
    """Return what stands between words: not the marks, which are the vowels of many scripts."""
    marks = "".join(chr(code) for code in _MARKS if unicodedata.category(chr(code)).startswith("M"))
    return re.compile(f"(?:_|[^\\w{marks}])+")


@dataclass(frozen=True)
class Partition:
    """Where a pair goes, by nothing but its source: a split, and a part of that split."""

    valid_fraction: float
    test_fraction: float
    parts: dict[Split, int]
    """Parts per split; 0 where none is held out."""

    def place(self, key: int) -> tuple[Split, int]:
        """Return split and part index. The key's upper half chooses one, the lower the other."""
        share = (key >> 32) / 2**32
        split: Split = "train"
        if share < self.test_fraction:
            split = "test"
        elif share < self.test_fraction + self.valid_fraction:
            split = "valid"
        return split, (key & 0xFFFFFFFF) % self.parts[split]

    @property
    def names(self) -> list[str]:
        """The name of each part: `train-00000`, ..., `valid-00000`, ..."""
        return [
            part_label(split, index)
            for split, count in self.parts.items()
            for index in range(count)
        ]


def part_label(split: Split, index: int) -> str:
    """Return the name that a part has before it lies in its split's folder."""
    return f"{split}-{index:05d}"


def choose_partition(config: CorpusConfig, pairs: int) -> Partition:
    """Choose how many parts each split gets, so that none outgrows `config.part_pairs` by much."""
    most = config.held_out_pairs / max(1, pairs) if config.held_out_pairs else 1.0
    valid = 0.0 if config.valid else min(most, config.valid_fraction)
    test = 0.0 if config.test else min(most, config.test_fraction)
    shares: dict[Split, float] = {"train": 1.0, "valid": valid, "test": test}
    parts = {
        split: -(-max(1, round(share * pairs)) // config.part_pairs)
        for split, share in shares.items()
        if share
    }
    return Partition(valid, test, parts)
