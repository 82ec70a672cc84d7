"""What students are trained on of what the teacher said."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wd.config import ShardsConfig
from wd.data.schema import CORPUS, PSEUDO
from wd.data.selection import Selection
from wd.data.shards import pack_pseudo
from wd.data.tokenizer import Tokenizer
from wd.errors import ArtifactError

CONFIG = ShardsConfig(batch_tokens=256)


@pytest.fixture
def part(tmp_path: Path, sentences: list[str]) -> Path:
    """A part of the corpus, and in `said/` what the teacher made of it: every third row is bad."""
    (tmp_path / "said").mkdir()
    texts = [
        {"id": str(row), "source": line, "target": line, "origin": ""}
        for row, line in enumerate(sentences[:30])
    ]
    said = [
        {"id": text["id"], "hypothesis": text["source"].upper(), "score": -1.0}
        | ({"fault": "loop", "kept": False} if row % 3 == 0 else {"fault": None, "kept": True})
        for row, text in enumerate(texts)
    ]
    path = tmp_path / "part-00000.parquet"
    pq.write_table(pa.Table.from_pylist(texts, schema=CORPUS), path)
    pq.write_table(pa.Table.from_pylist(said, schema=PSEUDO), tmp_path / "said" / path.name)
    return path


def test_what_is_not_kept_is_left_out_and_counted(
    part: Path, tokenizer_folder: Path, sentences: list[str]
) -> None:
    out = part.with_name("out.parquet")
    counts = pack_pseudo(tokenizer_folder, CONFIG, part.parent / "said", part, out)
    assert (counts["pairs"], counts["left_out"], counts["empty"]) == (20, 10, 0)
    tokenizer, kept = Tokenizer.load(tokenizer_folder), [i for i in range(30) if i % 3]
    sources = tokenizer.encode_source([sentences[row] for row in kept])
    targets = tokenizer.encode_target([sentences[row].upper() for row in kept])
    packed = [
        pair
        for batch in pq.read_table(out).to_pylist()
        for pair in zip(batch["source"], batch["target"], strict=True)
    ]
    assert sorted(packed) == sorted(zip(sources, targets, strict=True))


def test_what_is_not_selected_is_left_out_and_counted(part: Path, tokenizer_folder: Path) -> None:
    texts = pq.read_table(part).to_pylist()
    said = pq.read_table(part.parent / "said" / part.name).to_pylist()
    for row in (4, 5, 7):  # three times the same, one of them said badly
        texts[row]["source"], said[row]["hypothesis"] = texts[1]["source"], said[1]["hypothesis"]
    for row in (2, 7):
        said[row]["score"] = -2.0
    pq.write_table(pa.Table.from_pylist(texts, schema=CORPUS), part)
    pq.write_table(pa.Table.from_pylist(said, schema=PSEUDO), part.parent / "said" / part.name)
    out, selection = part.with_name("out.parquet"), Selection(-1.5, deduplicate=True)
    folder = part.parent / "said"
    counts = pack_pseudo(tokenizer_folder, CONFIG, folder, part, out, selection=selection)
    assert (counts["left_out"], counts["trimmed"], counts["duplicate"]) == (10, 2, 2)
    assert counts["pairs"] == 16


def test_exchanged_rows_are_found_whether_they_are_kept_or_not(
    part: Path, tokenizer_folder: Path
) -> None:
    said = part.parent / "said" / part.name
    rows = pq.read_table(said)
    pq.write_table(rows.take([3, 1, 2, 0, *range(4, 30)]), said)
    with pytest.raises(ArtifactError, match="its rows are not those of"):
        pack_pseudo(tokenizer_folder, CONFIG, said.parent, part, part.with_name("out.parquet"))
