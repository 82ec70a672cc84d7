from pathlib import Path

import ctranslate2
import pytest
import sentencepiece

from wd.config import DecodingConfig
from wd.decoding.engine import Translator
from wd.errors import ArtifactError
from wd.interop.ctranslate2 import export_ctranslate2


def test_the_folder_translates_without_this_package(
    model_folder: Path, tmp_path: Path, sentences: list[str]
) -> None:
    out = tmp_path / "deep" / "exported"
    export_ctranslate2(model_folder, out)
    assert [path.name for path in out.parent.iterdir()] == ["exported"]
    source = sentencepiece.SentencePieceProcessor(model_file=str(out / "source.model"))
    target = sentencepiece.SentencePieceProcessor(model_file=str(out / "target.model"))
    engine = ctranslate2.Translator(str(out), compute_type="float32", intra_threads=1)
    pieces = [[*source.encode(line, out_type=str), "</s>"] for line in sentences[:9]]
    found = engine.translate_batch(pieces, beam_size=3, max_decoding_length=12)
    texts = [target.decode(result.hypotheses[0]) for result in found]
    ours = Translator.from_directory(model_folder).translate(
        sentences[:9], DecodingConfig(beam_size=3, max_length=12)
    )
    # SentencePiece spells <unk>, our tokenizer leaves it out.
    assert [text.replace("⁇", "").split() for text in texts] == [one.text.split() for one in ours]


def test_int8_is_smaller_and_runs(model_folder: Path, tmp_path: Path) -> None:
    sizes = {}
    for quantization in ("float32", "int8"):
        out = tmp_path / quantization
        export_ctranslate2(model_folder, out, quantization)
        # The position tables stay float32 whatever the quantization.
        sizes[quantization] = (out / "model.bin").stat().st_size - 1024 * 32 * 4
    assert sizes["int8"] < 0.45 * sizes["float32"]
    engine = ctranslate2.Translator(str(tmp_path / "int8"), intra_threads=1)
    assert engine.translate_batch([["▁", "</s>"]], beam_size=1)[0].hypotheses[0]


def test_nothing_is_overwritten_and_nothing_half_written(
    model_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ArtifactError, match="exists already"):
        export_ctranslate2(model_folder, out)
    weights = model_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match=r"model\.safetensors"):
        export_ctranslate2(model_folder, tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "out"]
