"""What is trimmed by one border over all parts, and pairs that come twice."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wd.data.schema import PSEUDO, part_name
from wd.data.selection import Selection, lowest_score


def _write(folder: Path, index: int, scores: list[float], kept: list[bool]) -> Path:
    rows = [
        {"id": f"{index}-{row}", "hypothesis": "x", "score": score, "fault": None, "kept": one}
        for row, (score, one) in enumerate(zip(scores, kept, strict=True))
    ]
    path = folder / part_name(index)
    pq.write_table(pa.Table.from_pylist(rows, schema=PSEUDO), path)
    return path


@pytest.mark.parametrize("trim", [0.05, 0.2, 0.5, 0.99])
def test_the_border_is_one_over_all_parts(tmp_path: Path, trim: float) -> None:
    scores = np.random.default_rng(1).permutation(100) / -100.0
    kept = [row % 7 != 0 for row in range(100)]
    parts = [
        _write(tmp_path, index, scores[start : start + 30].tolist(), kept[start : start + 30])
        for index, start in enumerate(range(0, 100, 30))
    ]
    lowest = lowest_score(parts, trim)
    assert lowest == lowest_score(parts[::-1], trim)
    sound = np.sort(scores[kept].astype(np.float32))
    assert lowest == sound[int(trim * len(sound))]
    selection, gone = Selection(lowest), 0
    for part in parts:
        rows = pq.read_table(part)
        told, was = rows["score"].to_pylist(), rows["kept"].to_pylist()
        stays, counts = selection.kept(told, told, told, was)
        assert stays == [one and score >= lowest for one, score in zip(was, told, strict=True)]
        gone += counts["trimmed"]
    assert gone == int(trim * len(sound))


def test_equal_scores_at_the_border_stay(tmp_path: Path) -> None:
    part = _write(tmp_path, 0, [-1.0, -2.0, -2.0, -2.0, -3.0], [True] * 5)
    assert lowest_score([part], 0.5) == -2.0
    _, counts = Selection(-2.0).kept("abcde", "vwxyz", [-1.0, -2.0, -2.0, -2.0, -3.0], [True] * 5)
    assert counts == {"trimmed": 1, "duplicate": 0}


def test_without_a_share_or_without_translations_nothing_is_trimmed(tmp_path: Path) -> None:
    assert lowest_score([], 0.0) is None
    assert lowest_score([_write(tmp_path, 0, [-1.0], [False])], 0.5) is None
    assert Selection().kept("aa", "bb", [0.0, -9.0], [True, True])[0] == [True, True]


def test_the_first_of_equal_pairs_that_are_left_stays() -> None:
    sources, hypotheses = list("aaaabb"), list("xxyxxx")
    kept, scores = [False, *[True] * 5], [0.0, -5.0, 0.0, 0.0, 0.0, 0.0]
    stays, counts = Selection(-1.0, deduplicate=True).kept(sources, hypotheses, scores, kept)
    assert stays == [False, False, True, True, True, False]
    assert counts == {"trimmed": 1, "duplicate": 1}
