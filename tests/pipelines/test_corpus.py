"""The corpus and shards stages on a real Ray: what Ray adds to the invariants of wd.data."""

import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import pseudo
from pipelines.context import Run, Work
from pipelines.corpus import corpus
from pipelines.shards import pseudo_shards, shards
from pipelines.tokenizer import tokenizer
from wd.artifacts import Artifact
from wd.config import Recipe
from wd.data.schema import CORPUS, PSEUDO, part_files
from wd.data.split import source_key
from wd.errors import ArtifactError, DataError
from wd.tracking import NullTracker

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]
Make = Callable[..., Run]


@pytest.fixture
def data(tmp_path: Path, sentences: list[str]) -> Path:
    """500 pairs: of 180 sentences, some repeated, one empty."""
    draw = random.Random(5)
    lines = [draw.choice(sentences) for _ in range(499)]
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.en").write_text("\n".join([*lines, ""]) + "\n")
    (folder / "train.de").write_text("\n".join([*map(str.upper, lines), "LEER"]) + "\n")
    return folder


@pytest.fixture
def make(tmp_path: Path, data: Path) -> Make:
    def build(**corpus_changes: object) -> Run:
        changes = {"dir": str(data), "train": ("train.{lang}",), "part_pairs": 200}
        held_out = {"valid_fraction": 0.2, "test_fraction": 0.2}
        recipe = Recipe.model_validate(
            {
                "name": "small",
                "source_language": "en",
                "target_language": "de",
                "root": str(tmp_path / "root"),
                "corpus": {**changes, **held_out, **corpus_changes},
                "tokenizer": {"vocabulary_size": 60},
                "shards": {"batch_tokens": 200},
            }
        )
        run = Run(recipe)
        run._tracker = NullTracker()
        return run

    return build


def rows(artifact: Artifact, split: str) -> list[dict[str, str]]:
    parts = part_files(artifact.path / split)
    return [row for part in parts for row in pq.read_table(part).to_pylist()]


def keys(artifact: Artifact, split: str) -> set[int]:
    return {source_key(row["source"]) for row in rows(artifact, split)}


def test_split_and_accounts(make: Make) -> None:
    made = corpus(make())
    assert made.metrics["read"] == 500
    kept, removed = made.metrics["pairs"], made.metrics["removed"]
    assert sum(kept.values()) + sum(removed.values()) == 500
    assert removed["empty"] == 1
    assert {split: len(rows(made, split)) for split in kept} == kept
    assert min(kept.values()) > 10
    assert not keys(made, "train") & (keys(made, "valid") | keys(made, "test"))
    assert not keys(made, "valid") & keys(made, "test")
    for part in part_files(made.path / "train"):
        assert pq.read_schema(part).equals(CORPUS)


def test_rerun_is_byte_identical_and_does_not_depend_on_the_folder(
    make: Make, data: Path, tmp_path: Path
) -> None:
    one = corpus(make())
    moved = data.rename(tmp_path / "moved")
    again = make(dir=str(moved))
    assert corpus(again).name == one.name
    again.rebuild = frozenset({"corpus"})
    again._made.clear()
    assert corpus(again).manifest["files"] == one.manifest["files"]
    (moved / "train.de").write_text((moved / "train.de").read_text() + "MEHR\n")
    (moved / "train.en").write_text((moved / "train.en").read_text() + "more\n")
    assert corpus(make(dir=str(moved))).name != one.name


def test_given_sets_are_whole_and_in_order_and_win(
    make: Make, data: Path, sentences: list[str]
) -> None:
    test = [*sentences[:30], sentences[0]]
    valid = sentences[25:60]
    for split, lines in (("test", test), ("valid", valid)):
        (data / f"{split}.en").write_text("\n".join(lines) + "\n")
        (data / f"{split}.de").write_text("\n".join(map(str.upper, lines)) + "\n")
    made = corpus(make(valid=("valid.{lang}",), test=("test.{lang}",)))
    assert [row["source"] for row in rows(made, "test")] == test
    assert [row["source"] for row in rows(made, "valid")] == sentences[30:60]
    read = set((data / "train.en").read_text().splitlines()) - {""}
    assert keys(made, "train") == {source_key(line) for line in read - set(sentences[:60])}
    total = sum(made.metrics["pairs"].values()) + sum(made.metrics["removed"].values())
    assert total == made.metrics["read"] == 500 + 31 + 35


def test_nothing_left_is_told_with_the_reasons(make: Make) -> None:
    run = make(filters={"min_words": 200})
    with pytest.raises(DataError, match=r"filtered away \(short \d+, empty 1\)"):
        corpus(run)
    assert not list((run.store.folder / "corpus").glob("[!.]*"))


@pytest.mark.parametrize("split", ["valid", "test"])
def test_held_out_set_must_not_be_empty(make: Make, split: str) -> None:
    with pytest.raises(DataError, match=f"raise corpus.{split}_fraction"):
        corpus(make(**{f"{split}_fraction": 0.0}))


def test_empty_corpus(make: Make, data: Path) -> None:
    for side in ("en", "de"):
        (data / f"train.{side}").write_bytes(b"")
    with pytest.raises(DataError, match=r"train\.\{lang\}\) holds no sentence pairs\. Try X"):
        corpus(make(hint="Try X"))


def test_shards_hold_the_corpus(make: Make) -> None:
    run = make()
    text, made, pieces = corpus(run), shards(run), tokenizer(run)
    names = {part.name for part in part_files(text.path / "train")}
    assert {part.name for part in part_files(made.path / "train")} == names
    for split in ("train", "valid"):
        counts = made.metrics[split]
        batches = rows(made, split)
        assert counts["pairs"] == sum(len(row["source"]) for row in batches)
        assert counts["pairs"] == text.metrics["pairs"][split]
        assert 0 <= counts["target_padding"] < 1
    run.rebuild = frozenset({"shards"})
    run._made.pop(made.name)
    assert shards(run).manifest["files"] == made.manifest["files"]
    assert pieces.name in made.manifest["inputs"].values()


def test_pseudo_shards_are_checked_row_for_row(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make()
    text = corpus(run)

    def translated(mistake: bool) -> Callable[[Run], Artifact]:
        def build(work: Work) -> dict[str, int]:
            for part in part_files(text.path / "train"):
                ids = pq.read_table(part, columns=["id"])["id"].to_pylist()
                columns = [ids[::-1] if mistake else ids, ["DAS KIND"] * len(ids), [0.0] * len(ids)]
                pq.write_table(pa.table(columns, schema=PSEUDO), work.out / part.name)
            return {}

        return lambda run: run.stage(
            "pseudo", version=1, config={"mistake": mistake}, inputs={"corpus": text}, build=build
        )

    monkeypatch.setattr(pseudo, "pseudo", translated(mistake=False))
    made = pseudo_shards(run)
    assert made.metrics["train"]["pairs"] == text.metrics["pairs"]["train"]
    assert made.name != shards(run).name
    monkeypatch.setattr(pseudo, "pseudo", translated(mistake=True))
    with pytest.raises(ArtifactError, match="its rows are not those of"):
        pseudo_shards(run)


def test_everything_over_long(make: Make) -> None:
    run = make()
    shorter = run.recipe.shards.model_copy(update={"max_length": 2})
    run.recipe = run.recipe.model_copy(update={"shards": shorter})
    with pytest.raises(DataError, match=r"all \d+ training pairs are longer than 2 pieces"):
        shards(run)
