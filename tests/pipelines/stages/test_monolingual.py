"""Source text without targets: what of it is kept, where it goes, and what is made of it."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.context import Run
from pipelines.stages.corpus import corpus
from pipelines.stages.monolingual import monolingual
from pipelines.stages.pseudo import pseudo, pseudo_shards
from wd.config import Recipe, load_recipe
from wd.data.partition import ScatterTexts
from wd.data.schema import CORPUS, part_files
from wd.errors import DataError

HERE = (
    *("tracking.uri=none", "ray.workers=0", "pseudo.drop_loops=false", "pseudo.max_length=9"),
    "corpus.filters.max_words=8",
)
TRAINING = {"updates": 2, "validate_every": 2, "warmup_updates": 1, "bleu_sentences": 0}
NEW = [f"Ein Vogel singt {count} Lieder." for count in range(150)]
Read = Callable[..., Recipe]


@pytest.fixture
def read(tmp_path: Path, write_recipe: Callable[..., Path], sentences: list[str]) -> Read:
    """Return a function from overrides to a recipe beside which two files of German text lie."""
    path = write_recipe(tmp_path, training=TRAINING)
    odd = ["", " ", "Ein " * 9, sentences[0].upper(), *sentences[1:], NEW[0], f"  {NEW[1]}"]
    (tmp_path / "news.de").write_text("".join(f"{line}\n" for line in NEW))
    (tmp_path / "more.txt.gz").write_bytes(gzip.compress("\n".join(odd).encode()))
    texts = "pseudo.monolingual=['news.{lang}', more.txt]"
    return lambda *overrides: load_recipe(path, (*HERE, texts, *overrides))


def rows(files: list[Path]) -> list[dict[str, Any]]:
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def test_what_is_new_and_sound_is_kept_once(read: Read, sentences: list[str]) -> None:
    with Run(read(), quiet=True) as run:
        text, made = corpus(run), monolingual(run)
    parts = part_files(made.path / "train")
    assert {pq.read_schema(part) == CORPUS for part in parts} == {True}
    found = rows(parts)
    assert sorted(row["source"] for row in found) == sorted(NEW)
    assert {row["target"] for row in found} == {""}
    assert len({row["id"] for row in found}) == len(NEW)
    assert {row["origin"].rpartition(":")[0] for row in found} <= {"news.{lang}", "more.txt"}
    removed = made.metrics["removed"]
    held_out = text.metrics["pairs"]["valid"] + text.metrics["pairs"]["test"]
    assert removed == {
        **{"duplicate": 2, "empty": 2, "long": 1, "held_out": held_out},
        "in_corpus": len(sentences) - held_out,
    }
    assert made.metrics["kept"] == len(NEW)
    # Numbered after those of the corpus.
    of_corpus = [part.name for part in part_files(text.path / "train")]
    assert max(of_corpus) < min(part.name for part in parts)
    assert len(parts) == 6


def test_it_is_translated_and_trained_on_beside_the_corpus(read: Read) -> None:
    with Run(read(), quiet=True) as run:
        text, new, said, packed = corpus(run), monolingual(run), pseudo(run), pseudo_shards(run)
    sources = [*part_files(text.path / "train"), *part_files(new.path / "train")]
    assert [part.name for part in part_files(said.path)] == [part.name for part in sources]
    assert [row["id"] for row in rows(part_files(said.path))] == [
        row["id"] for row in rows(sources)
    ]
    pairs = text.metrics["pairs"]["train"] + len(NEW)
    assert said.metrics["sentences"] == pairs
    assert packed.metrics["train"]["pairs"] + packed.metrics["train"]["empty"] == pairs
    assert packed.manifest["inputs"]["monolingual"] == new.name


def test_other_text_translates_again_and_trains_no_teacher(read: Read, tmp_path: Path) -> None:
    def planned() -> dict[str, str]:
        with Run(read(), dry=True, quiet=True) as run:
            pseudo_shards(run)
        return {name.rpartition("-")[0]: name.rpartition("-")[2] for name in run.outlook}

    before = planned()
    (tmp_path / "news.de").rename(tmp_path / "news.de.txt")
    (tmp_path / "news.de").write_text("Ein anderes Lied.\n")
    after = planned()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"corpus/small-monolingual", "pseudo/small", "shards/small-pseudo"}


def test_a_killed_run_goes_on_with_its_parts(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    scatter = ScatterTexts.__call__

    def counted(self: ScatterTexts, part: Path, out: Path) -> dict[str, Any]:
        made.append(part.name)
        if len(made) == 3:
            raise RuntimeError
        return scatter(self, part, out)

    monkeypatch.setattr(ScatterTexts, "__call__", counted)
    with Run(read(), quiet=True) as run, pytest.raises(RuntimeError):
        monolingual(run)
    with Run(read(), quiet=True) as run:
        assert monolingual(run).metrics["kept"] == len(NEW)
    assert len(made) == len(set(made)) + 1 > 4  # the broken one twice, the others once


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("['news.{lang}', gone.txt]", r"gone\.txt: no such file"),
        ("[news.tsv]", r"pseudo\.monolingual: news\.tsv: what is read here is plain text"),
        ("[page.html.gz]", r"page\.html\.gz: what is read here is plain text"),
        ("[empty.txt]", r"pseudo\.monolingual: no lines"),
        ("[blank.txt]", r"every line was filtered away \(empty 2\)"),
        ("[latin.txt]", r"latin\.txt, line 1: not UTF-8"),
    ],
)
def test_a_mistake_is_told(read: Read, tmp_path: Path, texts: str, message: str) -> None:
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "blank.txt").write_text("\n \n")
    (tmp_path / "latin.txt").write_bytes(b"Gr\xfc\xdfe\n")
    recipe = read(f"pseudo.monolingual={texts}")
    with Run(recipe, quiet=True) as run, pytest.raises(DataError, match=message):
        monolingual(run)
