"""What is exported for transformers is the same model there, and comes back as it was."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.tools.export import export
from wd.config import DecodingConfig, StackShape
from wd.data.schema import BOS, EOS, PAD
from wd.data.tokenizer import Tokenizer
from wd.decoding.engine import Translator
from wd.errors import ArtifactError, ConfigError
from wd.interop.importing import import_model
from wd.interop.marian_hf_export import export_marian_hf
from wd.interop.recognition import source_of
from wd.model.directory import load_transformer, save_model
from wd.model.transformer import Transformer

transformers = pytest.importorskip("transformers")

SHAPES: dict[str, dict[str, Any]] = {
    "ours": {},
    "tied": {"tied_embeddings": "all", "activation": "silu", "output_bias": True},
    "decoder tied": {"tied_embeddings": "decoder", "activation": "gelu"},
    "paper": {"positions": "paper", "scale_embeddings": False},
    "fairseq": {"first_position": 2},
    "uneven": {
        "encoder": StackShape(layers=3, d_model=32, heads=2, feed_forward=40),
        "decoder": StackShape(layers=1, d_model=32, heads=8, feed_forward=24),
    },
}


@pytest.mark.parametrize("shape", SHAPES)
def test_transformers_computes_the_same_and_it_comes_back(
    random_model: Callable[..., Transformer],
    tokenizer_folder: Path,
    tmp_path: Path,
    sentences: list[str],
    shape: str,
) -> None:
    model, folder = random_model(norm="post", **SHAPES[shape]), tmp_path / "model"
    save_model(folder, model.config, model.state_dict(), tokenizer_folder)
    export_marian_hf(folder, tmp_path / "hf")
    theirs = transformers.MarianMTModel.from_pretrained(tmp_path / "hf").eval()
    source, target = torch.randint(EOS, 60, (2, 9)), torch.randint(EOS, 60, (2, 7))
    with torch.no_grad():
        found = theirs(input_ids=source, decoder_input_ids=target).logits
        torch.testing.assert_close(found, model(source, target), rtol=1e-4, atol=1e-4)

    (tmp_path / "back").mkdir()
    assert import_model(source_of(tmp_path / "hf"), tmp_path / "back")["difference"] < 1e-4
    back = load_transformer(tmp_path / "back")
    assert back.config == model.config.model_copy(update={"output_bias": True})
    torch.testing.assert_close(
        back(source, target)[..., EOS:], model(source, target)[..., EOS:], rtol=0, atol=1e-5
    )
    assert Tokenizer.load(tmp_path / "back").encode_source(sentences) == Tokenizer.load(
        folder
    ).encode_source(sentences)


def test_it_translates_there(
    random_model: Callable[..., Transformer],
    tokenizer_folder: Path,
    tmp_path: Path,
    sentences: list[str],
) -> None:
    model, folder = random_model(norm="post", output_bias=True), tmp_path / "model"
    with torch.no_grad():
        model.output_bias[[PAD, BOS]] = -100  # what has been trained does not say these
    save_model(folder, model.config, model.state_dict(), tokenizer_folder)
    export_marian_hf(folder, tmp_path / "hf")
    texts, length = [line.upper() for line in sentences[::20]], 12
    tokenizer = transformers.MarianTokenizer.from_pretrained(tmp_path / "hf")
    theirs = transformers.MarianMTModel.from_pretrained(tmp_path / "hf").generate(
        **tokenizer(texts, return_tensors="pt", padding=True),
        **{"num_beams": 1, "max_new_tokens": length, "min_new_tokens": 1},
    )
    ours = Translator.from_directory(folder, threads=1).translate(
        texts, DecodingConfig(beam_size=1, max_length=length)
    )
    assert [row[row != PAD][1:].tolist() for row in theirs] == [[*one.pieces] for one in ours]


@pytest.mark.parametrize(
    ("shape", "lacks"),
    [
        ({"norm": "pre"}, "pre-norm layers"),
        ({"biases": False}, "linear maps without biases"),
        (
            {"decoder": StackShape(layers=1, d_model=16, heads=2, feed_forward=32)},
            "an encoder of width 32 and a decoder of 16",
        ),
    ],
    ids=["pre", "biases", "narrow"],
)
def test_what_it_cannot_be_is_told(
    random_model: Callable[..., Transformer],
    tokenizer_folder: Path,
    tmp_path: Path,
    shape: dict[str, Any],
    lacks: str,
) -> None:
    model, folder = random_model(**shape), tmp_path / "model"
    save_model(folder, model.config, model.state_dict(), tokenizer_folder)
    with pytest.raises(ConfigError, match=f"cannot have {lacks}: use --format ctranslate2"):
        export(str(folder), tmp_path / "hf", format="hf")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_nothing_else_is_written_nor_over_anything(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="int8: format hf holds float32"):
        export(str(model_folder), tmp_path / "hf", format="hf", quantization="int8")
    with pytest.raises(ArtifactError, match="exists already"):
        export_marian_hf(model_folder, tmp_path)
    with pytest.raises(ConfigError, match=r"onnx: .* no beam search.*use ctranslate2 or hf"):
        export(str(model_folder), tmp_path / "hf", format="onnx")
