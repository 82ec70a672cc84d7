from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sacrebleu import sentence_chrf

from wd.config import PseudoConfig, RayConfig
from wd.data.schema import CORPUS, PSEUDO
from wd.decoding.engine import Translator
from wd.decoding.lines import Hypothesis
from wd.decoding.nearest import nearest
from wd.decoding.parts import PartTranslator, check_rows
from wd.errors import ArtifactError

SETTINGS = PseudoConfig(beam_size=2, max_length=12, batch_tokens=256)


def _corpus(
    folder: Path, sentences: list[str], parts: int, targets: list[str] | None = None
) -> list[Path]:
    folder.mkdir()
    paths = []
    for index in range(parts):
        lines = sentences[index::parts]
        columns = {
            "id": [f"{index}-{row}" for row in range(len(lines))],
            "source": lines,
            "target": (targets or sentences)[index::parts],
            "origin": ["here"] * len(lines),
        }
        paths.append(folder / f"part-{index:05d}.parquet")
        pq.write_table(pa.table(columns, schema=CORPUS), paths[-1])
    return paths


def test_rows_are_translated_one_for_one(
    model_folder: Path, tmp_path: Path, sentences: list[str]
) -> None:
    lines = [*sentences[:9], "  "]
    part = _corpus(tmp_path / "train", lines, 1)[0]
    made = tmp_path / "made.parquet"
    told = PartTranslator([model_folder], SETTINGS, "cpu", 1)(part, made)
    table = pq.read_table(made)
    assert table.schema.equals(PSEUDO)
    found = Translator.from_directory(model_folder).translate(lines, SETTINGS)
    assert table["hypothesis"].to_pylist() == [hypothesis.text for hypothesis in found]
    assert told["decoding"] == "cpu, float32, 256 pieces a batch"
    assert told["sentences"] == 10
    assert told["cut"] == sum(hypothesis.is_cut for hypothesis in found)
    assert told["score"] == pytest.approx(sum(hypothesis.score for hypothesis in found))
    check_rows(part, made)


def test_of_n_best_the_nearest_to_the_reference_is_taken(
    model_folder: Path, tmp_path: Path, sentences: list[str]
) -> None:
    lines = [*sentences[:12], "  "]
    translator = Translator.from_directory(model_folder)
    several = translator.n_best(lines, SETTINGS, 2)
    assert [found[0] for found in several] == translator.translate(lines, SETTINGS)
    # Of every other line the second best is what the reference says.
    references = [found[-1 if row % 2 else 0].text for row, found in enumerate(several)]
    part = _corpus(tmp_path / "train", lines, 1, references)[0]
    made = tmp_path / "made.parquet"
    config = SETTINGS.model_copy(update={"n_best": 2})
    told = PartTranslator([model_folder], config, "cpu", 1)(part, made)
    rows = pq.read_table(made).to_pylist()
    assert [row["hypothesis"] for row in rows] == references
    assert told["nearer"] == sum(found[0].text != found[-1].text for found in several[1::2]) > 2
    scores = [found[-1 if row % 2 else 0].score for row, found in enumerate(several)]
    assert [row["score"] for row in rows] == pytest.approx(scores)


def test_nearness_is_sentence_chrf() -> None:
    said = [
        Hypothesis(text, 0.0, (1,), (1,))
        for text in ("der Hund", "die Katze sieht", "die Katze sah das Haus", "die Katze sieht")
    ]
    for reference in ("die Katze sieht das Haus", "die Katzen", "der Baum", "xyz"):
        scores = [sentence_chrf(found.text, [reference]).score for found in said]
        assert nearest(said, reference) == scores.index(max(scores))
    assert nearest(said, "die Katze sieht") == 1  # not the later one that says the same
    assert nearest(said, None) == nearest(said, "") == nearest(said[:1], "die Katze") == 0


@pytest.mark.parametrize("drop_loops", [True, False])
def test_loops_are_counted_marked_and_shown(
    write_parrot: Callable[..., Path], tmp_path: Path, sentences: list[str], drop_loops: bool
) -> None:
    lines = [*sentences[:15], "\u200b"]
    part = _corpus(tmp_path / "train", lines, 1)[0]
    config = PseudoConfig(beam_size=2, max_length=25, drop_loops=drop_loops)
    made = tmp_path / "made.parquet"
    counts = PartTranslator([write_parrot("endless", 20, endless=True)], config, "cpu", 1)(
        part, made
    )
    rows = pq.read_table(made).to_pylist()
    assert [row["fault"] for row in rows] == ["loop"] * 15 + ["blank"]
    assert [row["kept"] for row in rows] == [not drop_loops] * 15 + [False]
    assert (counts["loop"], counts["long"], counts["blank"], counts["cut"]) == (15, 0, 1, 15)
    assert counts["kept"] == sum(row["kept"] for row in rows)
    assert len(counts["examples"]) == 10
    for example, row, line in zip(counts["examples"], rows, lines, strict=False):
        assert example == {
            **{"id": row["id"], "fault": "loop"},
            **{"source": line, "hypothesis": row["hypothesis"]},
        }


def test_sound_translations_are_kept(
    write_parrot: Callable[..., Path], tmp_path: Path, sentences: list[str]
) -> None:
    part = _corpus(tmp_path / "train", sentences[:5], 1)[0]
    made = tmp_path / "made.parquet"
    folder = write_parrot("short", 20, endless=False)
    counts = PartTranslator([folder], PseudoConfig(), "cpu", 1)(part, made)
    assert pq.read_table(made)["fault"].to_pylist() == [None] * 5
    assert (counts["kept"], counts["cut"], counts["examples"]) == (5, 0, ())


def test_lost_or_exchanged_rows_are_found(tmp_path: Path, sentences: list[str]) -> None:
    part = _corpus(tmp_path / "train", sentences[:4], 1)[0]
    rows = pq.read_table(part)
    for name, kept in (("short", rows[:3]), ("exchanged", rows.take([1, 0, 2, 3]))):
        pq.write_table(kept, tmp_path / name)
        with pytest.raises(ArtifactError, match=f"{name}: its . rows are not the 4 rows"):
            check_rows(part, tmp_path / name)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_over_ray_the_parts_are_the_same(
    model_folder: Path, tmp_path: Path, sentences: list[str]
) -> None:
    from wd.distributed.map import map_parts

    parts = _corpus(tmp_path / "train", sentences[:40], 3)
    args = ([model_folder], SETTINGS, "cpu", 1)
    told = map_parts(
        PartTranslator, parts, tmp_path / "made", config=RayConfig(map_cpus=0.5), actor_args=args
    )
    assert sum(part["sentences"] for part in told) == 40
    direct = PartTranslator(*args)
    for part in parts:
        direct(part, tmp_path / "direct.parquet")
        made = tmp_path / "made" / part.name
        assert pq.read_table(made).equals(pq.read_table(tmp_path / "direct.parquet"))
        check_rows(part, made)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_over_ray_a_damaged_teacher_is_the_user_s_error(
    model_folder: Path, tmp_path: Path, sentences: list[str]
) -> None:
    from wd.distributed.map import map_parts

    weights = model_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    parts = _corpus(tmp_path / "train", sentences[:4], 1)
    with pytest.raises(ArtifactError, match=r"model\.safetensors"):
        map_parts(
            PartTranslator,
            parts,
            tmp_path / "made",
            config=RayConfig(map_cpus=0.5),
            actor_args=([model_folder], SETTINGS, "cpu", 1),
        )
    assert list((tmp_path / "made").glob("part-*")) == []
