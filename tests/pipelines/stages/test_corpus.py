"""The corpus and shards stages on a real Ray: what Ray adds to the invariants of wd.data."""

import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.context import Run, Work
from pipelines.stages import pseudo
from pipelines.stages.corpus import corpus
from pipelines.stages.pseudo import pseudo_shards
from pipelines.stages.shards import shards
from pipelines.stages.tokenizer import tokenizer
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
                "tokenizer": {"vocabulary_size": 60, "byte_fallback": False},
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


def test_several_test_sets_are_kept_apart_and_out_of_the_rest(
    make: Make, data: Path, sentences: list[str]
) -> None:
    """Also from each other nothing is taken: published sets stay comparable."""
    texts = {"news": sentences[:20], "talks": sentences[10:40], "valid": sentences[30:60]}
    for name, lines in texts.items():
        (data / f"{name}.en").write_text("\n".join(lines) + "\n")
        (data / f"{name}.de").write_text("\n".join(map(str.upper, lines)) + "\n")
    named = {"news": ["news.{lang}"], "talks": ["talks.{lang}"]}
    made = corpus(make(valid=("valid.{lang}",), test=named))
    assert [row["source"] for row in rows(made, "test")] == texts["news"]
    assert [row["source"] for row in rows(made, "test-talks")] == texts["talks"]
    assert [row["source"] for row in rows(made, "valid")] == sentences[40:60]
    assert not keys(made, "train") & {source_key(line) for line in sentences[:60]}
    turned = corpus(make(valid=("valid.{lang}",), test=dict(reversed(named.items()))))
    assert [row["source"] for row in rows(turned, "test")] == texts["talks"]
    alone = corpus(make(valid=("valid.{lang}",), test=("news.{lang}",)))
    assert rows(alone, "test") == rows(made, "test")


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


def test_broken_rows_are_accounted_for_and_nothing_else_changes(make: Make, data: Path) -> None:
    whole = corpus(make())
    for side, row in (("en", b"\xff\n"), ("de", b"NUL\0\n")):
        text = (data / f"train.{side}").read_bytes()
        (data / f"train.{side}").write_bytes(text + row)
    with pytest.raises(DataError, match=r"train\.en, line 501: not UTF-8.*skip_broken_rows"):
        corpus(make())
    made = corpus(make(skip_broken_rows=True))
    assert made.metrics["read"] == 501
    assert made.metrics["removed"] == {**whole.metrics["removed"], "broken": 1}
    assert made.metrics["pairs"] == whole.metrics["pairs"]
    assert rows(made, "train") == rows(whole, "train")


def test_corpus_of_broken_rows_says_so(make: Make, data: Path) -> None:
    for side in ("en", "de"):
        (data / f"train.{side}").write_bytes(b"\xff\n" * 3)
    with pytest.raises(DataError, match=r"holds no sentence pairs \(broken 3 left out\)\."):
        corpus(make(skip_broken_rows=True))


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


def test_unknown_characters_are_told(
    make: Make, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shards(make())
    assert "does not know" not in caplog.text
    for name in ("train.en", "train.de"):
        first, *others = (data / name).read_text().splitlines()
        rare = [f"{first} {number} Ж" for number in range(5)]
        (data / name).write_text("\n".join([*rare, *others]) + "\n")
    run = make()
    coverage = run.recipe.tokenizer.model_copy(update={"character_coverage": 0.998})
    run.recipe = run.recipe.model_copy(update={"tokenizer": coverage})
    text, made = corpus(run), shards(run)
    for split in ("train", "valid"):
        expected = sum("Ж" in row["source"] for row in rows(text, split))
        counts = made.metrics[split]
        assert counts["source_unknown"] >= expected
        assert counts["target_unknown"] >= expected
    assert made.metrics["train"]["source_unknown"] > 0
    assert caplog.text.count("does not know") == 1


def test_pseudo_shards_are_checked_row_for_row(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make()
    text = corpus(run)

    def translated(mistake: bool, kept: bool = True) -> Callable[[Run], Artifact]:
        def build(work: Work) -> dict[str, int]:
            for part in part_files(text.path / "train"):
                ids = pq.read_table(part, columns=["id"])["id"].to_pylist()
                said = {"hypothesis": "DAS KIND", "score": 0.0, "fault": None, "kept": kept}
                rows = [{"id": row, **said} for row in (ids[::-1] if mistake else ids)]
                table = pa.Table.from_pylist(rows, schema=PSEUDO)
                pq.write_table(table, work.out / part.name)
            return {}

        return lambda run: run.stage(
            "pseudo",
            version=1,
            config={"mistake": mistake, "kept": kept},
            inputs={"corpus": text},
            build=build,
        )

    monkeypatch.setattr(pseudo, "pseudo", translated(mistake=False))
    made = pseudo_shards(run)
    assert made.metrics["train"]["pairs"] == text.metrics["pairs"]["train"]
    assert made.name != shards(run).name
    monkeypatch.setattr(pseudo, "pseudo", translated(mistake=True))
    with pytest.raises(ArtifactError, match="its rows are not those of"):
        pseudo_shards(make())
    monkeypatch.setattr(pseudo, "pseudo", translated(mistake=False, kept=False))
    pairs = text.metrics["pairs"]["train"]
    with pytest.raises(
        DataError, match=rf"none of the teacher's {pairs} .*pseudo\.drop_loops=false"
    ):
        pseudo_shards(make())


def test_everything_over_long(make: Make) -> None:
    run = make()
    shorter = run.recipe.shards.model_copy(update={"max_length": 2})
    run.recipe = run.recipe.model_copy(update={"shards": shorter})
    with pytest.raises(DataError, match=r"all \d+ training pairs are longer than 2 pieces"):
        shards(run)
