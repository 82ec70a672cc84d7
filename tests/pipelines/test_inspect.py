"""`wd inspect` tells identity, lineage and damage."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from pipelines.cli import app
from wd.artifacts import Artifact, Identity, Metrics, Store
from wd.config import ModelConfig, StackShape
from wd.model.directory import save_model
from wd.model.sizes import count_parameters, tensor_shapes

STACK = StackShape(layers=1, d_model=8, heads=2, feed_forward=16)
CONFIG = ModelConfig(encoder=STACK, decoder=STACK, source_vocabulary=12, target_vocabulary=12)


def inspect(path: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["inspect", str(path), *options])


def build_text(out: Path) -> Metrics:
    (out / "text.txt").write_text("Zeile\n")
    return {"pairs": 1}


def build_model(out: Path) -> Metrics:
    tokenizer = out / "tokenizer"
    tokenizer.mkdir()
    for name in ("source.model", "target.model"):
        (tokenizer / name).write_bytes(b"pieces")
    state = {name: torch.zeros(shape) for name, shape in tensor_shapes(CONFIG).items()}
    save_model(out, CONFIG, state, tokenizer)
    return {"updates": 2}


@pytest.fixture
def chain(tmp_path: Path) -> list[Artifact]:
    """A corpus, a tokenizer made from it, a student made from both."""
    store = Store(str(tmp_path))
    corpus = store.publish(Identity("corpus", "test", 1, {}, {}), build_text)
    tokenizer = store.publish(
        Identity("tokenizer", "test", 1, {"size": 12}, {"corpus": corpus.name}), build_text
    )
    student = store.publish(
        Identity("student", "test", 1, {}, {"corpus": corpus.name, "tokenizer": tokenizer.name}),
        build_model,
    )
    return [corpus, tokenizer, student]


def test_lineage_goes_back_to_the_corpus(chain: list[Artifact]) -> None:
    corpus, tokenizer, student = chain
    told = json.loads(inspect(student.path, "--json").stdout)
    assert told["artifact"] == student.name
    assert told["metrics"] == {"updates": 2}
    assert told["parameters"] == count_parameters(CONFIG)
    assert told["inputs"] == {"corpus": corpus.name, "tokenizer": tokenizer.name}
    assert told["lineage"] == {
        corpus.name: {"present": True, "inputs": {}},
        tokenizer.name: {"present": True, "inputs": {"corpus": corpus.name}},
    }


def test_the_terminal_shows_the_same(chain: list[Artifact]) -> None:
    result = inspect(chain[-1].path)
    assert result.exit_code == 0
    for artifact in chain:
        assert artifact.name in result.stdout
    assert "every byte is as the manifest says" in result.stdout


def test_a_source_that_is_gone_is_said(chain: list[Artifact]) -> None:
    (chain[0].path / "manifest.json").unlink()
    told = json.loads(inspect(chain[1].path, "--json").stdout)
    assert told["lineage"][chain[0].name]["present"] is False
    assert "not here any more" in inspect(chain[1].path).stdout


def test_damage_is_exit_2(chain: list[Artifact]) -> None:
    path = chain[0].path / "text.txt"
    path.write_text("zeile\n")
    result = inspect(chain[0].path)
    assert result.exit_code == 2
    assert "text.txt: its bytes have changed" in result.stderr


def test_a_manifest_without_its_keys_is_exit_2(chain: list[Artifact]) -> None:
    (chain[0].path / "manifest.json").write_text("{}")
    result = inspect(chain[0].path)
    assert result.exit_code == 2
    assert "damaged" in result.stderr


def test_a_model_directory_without_a_manifest(tmp_path: Path) -> None:
    build_model(tmp_path)
    told = json.loads(inspect(tmp_path, "--json").stdout)
    assert told["parameters"] == count_parameters(CONFIG)
    assert told["model"]["encoder"]["d_model"] == 8
    assert "artifact" not in told


def test_truncated_weights_are_exit_2(tmp_path: Path) -> None:
    build_model(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    result = inspect(tmp_path)
    assert result.exit_code == 2
    assert str(weights) in result.stderr
