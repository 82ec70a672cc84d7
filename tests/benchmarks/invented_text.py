"""Parallel text of invented words, as much as is wanted: as various as real text, and nobody's."""

from pathlib import Path

import numpy as np

LANGUAGES = ("xa", "xb")
_WORDS = 40_000
_ONSETS = ("st", "tr", "sh", *"bdfgklmnprstvz")
_CHUNK = 100_000
_MEAN_WORDS, _SPREAD, _MOST_WORDS = 22, 0.6, 150


def write_text(folder: Path, name: str, pairs: int, seed: int = 1) -> int:
    """Write `folder/name.xa` and `.xb`, a pair a line; return the bytes of both.

    Words are as frequent as Zipf's law has it, and a sentence's number of them is log-normal. A
    target is its source word for word, with some neighbours swapped.
    """
    random = np.random.default_rng(seed)
    lexicons = [_lexicon(np.random.default_rng(number)) for number in (11, 12)]
    weights = 1 / (np.arange(_WORDS) + 2.7)
    shares = np.cumsum(weights / weights.sum())
    paths = [folder / f"{name}.{language}" for language in LANGUAGES]
    with paths[0].open("w") as sources, paths[1].open("w") as targets:
        for start in range(0, pairs, _CHUNK):
            count = min(_CHUNK, pairs - start)
            lengths = np.exp(random.normal(np.log(_MEAN_WORDS), _SPREAD, count))
            lengths = lengths.astype(int).clip(1, _MOST_WORDS)
            words = np.searchsorted(shares, random.random(lengths.sum())).clip(max=_WORDS - 1)
            ends = lengths.cumsum()
            sources.writelines(_lines(lexicons[0][words], ends))
            swapped = 2 * np.flatnonzero(random.random(len(words) // 2) < 0.3)
            words[swapped], words[swapped + 1] = words[swapped + 1], words[swapped].copy()
            targets.writelines(_lines(lexicons[1][words], ends))
    return sum(path.stat().st_size for path in paths)


def _lexicon(random: np.random.Generator) -> np.ndarray:
    """Return invented words, the frequent ones short."""
    syllables = [onset + vowel for onset in _ONSETS for vowel in "aeiou"]
    words: dict[str, None] = {}
    while len(words) < _WORDS:
        length = 1 + random.poisson(0.25 * np.log2(1 + len(words) / 8))
        chosen = random.integers(len(syllables), size=length).tolist()
        words["".join(syllables[each] for each in chosen)] = None
    return np.array(list(words), dtype=object)


def _lines(words: np.ndarray, ends: np.ndarray) -> list[str]:
    starts = [0, *ends[:-1].tolist()]
    return [
        " ".join(words[start:end]).capitalize() + ".\n"
        for start, end in zip(starts, ends.tolist(), strict=True)
    ]
