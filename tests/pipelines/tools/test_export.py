"""What is exported does what its model does, or is not there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.tools.export import export, told
from pipelines.tools.inspect import inspect
from wd.artifacts import Artifact, Identity, Store
from wd.config import DecodingConfig, Quantization
from wd.data.schema import CORPUS
from wd.decoding.engine import Translator
from wd.errors import ArtifactError, ConfigError
from wd.interop import ctranslate2_check
from wd.interop.ctranslate2 import fill_ctranslate2
from wd.manifest import read_manifest
from wd.model.directory import TOKENIZER, load_model, save_model, write_model
from wd.model.transformer import Transformer


@pytest.mark.parametrize("quantization", get_args(Quantization))
def test_every_quantization_is_checked_and_described(
    model_folder: Path, tmp_path: Path, quantization: Quantization
) -> None:
    found = export(str(model_folder), tmp_path / "out", quantization=quantization)
    described = inspect(tmp_path / "out")
    assert (described["stage"], "model" in described) == ("export", False)
    metrics = read_manifest(tmp_path / "out")["metrics"]
    assert metrics["bytes"] > (tmp_path / "out" / "model.bin").stat().st_size
    assert metrics["sentences_per_second"] > 0
    assert metrics["probe"] == "random pieces"
    if quantization == "float32":
        assert found["as_in_torch"] == found["sentences"] == 32
    assert "greedy translations as torch's, " in told(found)


@pytest.fixture
def student(
    tmp_path: Path, model_folder: Path, tokenizer_folder: Path, sentences: list[str]
) -> Artifact:
    """An artifact, made from a corpus whose test split is what the model says of it."""
    store, lines = Store(str(tmp_path / "root")), sentences[::9]
    greedy = DecodingConfig(beam_size=1)
    said = Translator.from_directory(model_folder, threads=1).translate(lines, greedy)
    config, state = load_model(model_folder)

    def corpus(out: Path) -> dict[str, Any]:
        columns = {"source": lines, "target": [each.text for each in said]}
        rows = {name: columns.get(name, [""] * len(lines)) for name in CORPUS.names}
        for split in ("train", "test"):
            (out / split).mkdir()
            pq.write_table(pa.table(rows), out / split / "part-00000.parquet")
        return {}

    def model(out: Path) -> dict[str, Any]:
        save_model(out, config, state, tokenizer_folder)
        return {}

    text = store.publish(Identity("corpus", "small", 1, {"languages": ["de", "th"]}, {}), corpus)
    return store.publish(Identity("student", "small", 1, {}, {"corpus": text.name}), model)


def test_bleu_is_of_the_corpus_that_the_model_was_made_from(
    student: Artifact, tmp_path: Path
) -> None:
    found = export(str(student.path), tmp_path / "whole")
    assert found["probe"].endswith(f"lines of {student.manifest['inputs']['corpus']}")
    assert "bleu" not in found  # it says the same
    few = export(student.name, tmp_path / "few", quantization="float16", root=student.root)
    assert few["float32_bleu"] == pytest.approx(100)
    assert few["bleu"] >= few["float32_bleu"] - 0.2
    assert "BLEU" in told(few)


@pytest.mark.parametrize("quantization", ["float32", "float16"])
def test_shortlists_are_counted_on_what_a_model_was_trained_on(
    student: Artifact, tmp_path: Path, quantization: Quantization
) -> None:
    out = tmp_path / "out"
    found = export(student.name, out, quantization=quantization, shortlists=True, root=student.root)
    # What the model says of these sources was counted, so its choices are not left out.
    assert found["with_shortlists"]["bleu"] == pytest.approx(found["bleu"], abs=0.5)
    assert "with shortlists BLEU" in told(found)
    assert read_manifest(out)["config"]["shortlists"]
    assert "vmap.txt" in read_manifest(out)["files"]


def test_shortlists_that_leave_out_what_a_model_says_are_refused(
    student: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "wd.interop.shortlists.counted_shortlists", lambda *_: {"": ["a", "b"], "a": ["c"]}
    )
    with pytest.raises(ArtifactError, match=r"BLEU to its shortlists.*--no-shortlists"):
        export(student.name, tmp_path / "out", shortlists=True, root=student.root)
    assert not (tmp_path / "out").exists()


def test_shortlists_need_the_training_text(
    model_folder: Path, student: Artifact, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError, match="the text that it was trained on is not there"):
        export(str(model_folder), tmp_path / "out", shortlists=True)
    with pytest.raises(ConfigError, match="shortlists: format hf has none"):
        export(student.name, tmp_path / "out", format="hf", shortlists=True, root=student.root)
    assert not (tmp_path / "out").exists()


def test_another_model_s_export_is_no_export(
    student: Artifact,
    tmp_path: Path,
    random_model: Callable[..., Transformer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As if the conversion had got a weight wrong."""

    def fill(place: Path, folder: Path, quantization: Quantization) -> None:
        other = random_model(seed=5)
        wrong = tmp_path / "wrong"
        wrong.mkdir(exist_ok=True)
        for name in TOKENIZER:
            (wrong / name).write_bytes((place / name).read_bytes())
        write_model(wrong, other.config, other.state_dict())
        fill_ctranslate2(wrong, folder, quantization)

    monkeypatch.setattr("wd.interop.ctranslate2.fill_ctranslate2", fill)
    out = tmp_path / "out"
    with pytest.raises(ArtifactError, match=r"at most .* nats less probable"):
        export(str(student.path), out)
    with pytest.raises(ArtifactError, match=r"on average .* nats less probable"):
        export(str(student.path), out, quantization="int8")
    monkeypatch.setattr(ctranslate2_check, "NEAR", 1e9)
    with pytest.raises(ArtifactError, match=r"worse than the model: .* or --no-check"):
        export(str(student.path), out, quantization="int8")
    assert not out.exists()
    found = export(str(student.path), out, quantization="int8", check=False)
    assert told(found).endswith("not checked")


def test_an_export_for_transformers_is_compared(
    random_model: Callable[..., Transformer], tokenizer_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    model = random_model(norm="post")
    save_model(tmp_path / "model", model.config, model.state_dict(), tokenizer_folder)
    found = export(str(tmp_path / "model"), tmp_path / "out", format="hf")
    assert found["difference"] < 1e-3
    assert found["sentences_per_second"] > 0
    assert "logits within" in told(found)
    assert inspect(tmp_path / "out")["metrics"]["difference"] == found["difference"]
