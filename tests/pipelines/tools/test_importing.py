"""An import is a model directory with a manifest, whole or not there."""

from pathlib import Path

import pytest
from rich.console import Console

from pipelines.tools.importing import import_to, table
from pipelines.tools.inspect import inspect
from wd.errors import ArtifactError, UserError
from wd.files import sha256
from wd.model.directory import TOKENIZER, load_config
from wd.model.sizes import tensor_shapes


def test_a_model_directory_of_ours_comes_as_it_is(model_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    found = import_to(str(model_folder), out)
    names = ("config.json", "model.safetensors", *TOKENIZER)
    assert {path.name for path in out.iterdir()} == {*names, "manifest.json"}
    for name in names:
        assert sha256(out / name) == sha256(model_folder / name)
    described = inspect(out)
    assert described["stage"] == "teacher"
    assert described["metrics"]["tensors"] == found["tensors"]
    assert found["tensors"] == len(tensor_shapes(load_config(model_folder)))


def test_what_was_found_is_told(model_folder: Path, tmp_path: Path) -> None:
    found = import_to(str(model_folder), tmp_path / "out")
    with (console := Console(width=100)).capture() as told:
        console.print(table(found))
    for text in ("2 layers of width 32, 4 heads, feed-forward 64", "post-norm, relu", "60 source"):
        assert text in told.get()
    assert f"{found['tensors']} read, none left over" in told.get()
    assert "not compared" in told.get()


def test_nothing_is_half_written(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="exists already"):
        import_to(str(model_folder), tmp_path)
    config = model_folder / "config.json"
    text = config.read_text()
    for name, content, message in (
        ("model.safetensors", b"", "not a whole safetensors file"),
        ("target.model", b"x", "its tokenizer models are damaged"),
        ("config.json", b"{}", "Field required"),
        ("config.json", text.replace('"layers": 2', '"layers": 3').encode(), "has shape None"),
        (
            "config.json",
            text.replace('vocabulary": 60', 'vocabulary": 61').encode(),
            "has shape|not made for each other",
        ),
    ):
        before = (model_folder / name).read_bytes()
        (model_folder / name).write_bytes(content)
        with pytest.raises(UserError, match=message):
            import_to(str(model_folder), tmp_path / "out")
        (model_folder / name).write_bytes(before)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    (model_folder / "source.model").unlink()
    with pytest.raises(ArtifactError, match=r"not a whole model directory: no source\.model"):
        import_to(str(model_folder), tmp_path / "out")
