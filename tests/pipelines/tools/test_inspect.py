"""`wd inspect` tells identity, lineage and damage."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipelines.commands.cli import app
from wd.artifacts import Artifact, Identity, Metrics, Store
from wd.model.directory import load_model
from wd.model.sizes import count_parameters
from wd.places import below
from wd.store import objects


def inspect(path: Path | str, *options: str) -> Result:
    return CliRunner().invoke(app, ["inspect", str(path), *options])


def build_text(out: Path) -> Metrics:
    (out / "text.txt").write_text("Zeile\n")
    return {"pairs": 1}


@pytest.fixture
def chain(tmp_path: Path, model_folder: Path) -> list[Artifact]:
    return chained(str(tmp_path), model_folder)


def chained(root: str, model_folder: Path) -> list[Artifact]:
    """Make a corpus, a tokenizer made from it, a student made from both."""

    def build_model(out: Path) -> Metrics:
        shutil.copytree(model_folder, out, dirs_exist_ok=True)
        return {"updates": 2}

    store = Store(root)
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
    assert told["parameters"] == count_parameters(load_model(student.path)[0])
    assert told["inputs"] == {"corpus": corpus.name, "tokenizer": tokenizer.name}
    assert told["lineage"] == {
        corpus.name: {"present": True, "damage": [], "inputs": {}},
        tokenizer.name: {"present": True, "damage": [], "inputs": {"corpus": corpus.name}},
    }


def test_an_address_is_as_good_as_a_folder(
    store_root: str, model_folder: Path, tmp_path: Path
) -> None:
    here = chained(str(tmp_path / "root"), model_folder)[-1]
    corpus, _, student = chained(store_root, model_folder)
    expected = json.loads(inspect(here.path, "--json").stdout)
    asked = {
        inspect(below(store_root, student.name), "--json").stdout,
        inspect(student.name, "--root", store_root, "--json").stdout,
    }
    varying = ("path", "created", "seconds")
    for told in map(json.loads, asked):
        for key in varying:
            told.pop(key)
        assert told == {key: value for key, value in expected.items() if key not in varying}
    objects.erase(store_root, f"{corpus.name}/text.txt")
    told = inspect(below(store_root, student.name)).stdout
    assert f"{corpus.name}  (text.txt: missing)" in told
    objects.write(store_root, f"{student.name}/config.json", b"{}")
    damaged = inspect(below(store_root, student.name))
    assert damaged.exit_code == 0  # this node has it, whole


def test_the_terminal_shows_the_same(chain: list[Artifact]) -> None:
    result = inspect(chain[-1].path)
    assert result.exit_code == 0
    for artifact in chain:
        assert artifact.name in result.stdout
    assert "every byte of this folder is as its manifest says" in result.stdout


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


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"files": {}}'])
def test_a_manifest_without_its_keys_is_exit_2(chain: list[Artifact], text: str) -> None:
    folder = chain[0].path
    (folder / "manifest.json").write_text(text)
    result = inspect(folder)
    assert result.exit_code == 2
    assert "damaged" in result.stderr


def test_a_model_directory_without_a_manifest(model_folder: Path) -> None:
    told = json.loads(inspect(model_folder, "--json").stdout)
    config, _ = load_model(model_folder)
    assert told["parameters"] == count_parameters(config)
    assert told["model"]["encoder"]["d_model"] == config.encoder.d_model
    assert "artifact" not in told


def test_truncated_weights_are_exit_2(model_folder: Path) -> None:
    weights = model_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    result = inspect(model_folder)
    assert result.exit_code == 2
    assert str(weights) in result.stderr


@pytest.mark.parametrize("name", ["source.model", "config.json"])
def test_a_model_directory_that_is_not_whole_is_exit_2(model_folder: Path, name: str) -> None:
    (model_folder / name).write_bytes(b"\xff")
    result = inspect(model_folder)
    assert result.exit_code == 2
    assert "damaged" in result.stderr


def test_what_is_damaged_upstream_is_said(chain: list[Artifact]) -> None:
    (chain[0].path / "text.txt").unlink()
    assert "(text.txt: missing)" in inspect(chain[-1].path).stdout


def test_names_and_damaged_names_are_found_below_the_root(
    chain: list[Artifact], tmp_path: Path
) -> None:
    student = chain[-1]
    result = inspect(Path(student.name), "--root", str(tmp_path))
    assert result.exit_code == 0
    assert "intact" in result.stdout
    (student.path / "config.json").write_text("{}")
    result = inspect(Path(student.name), "--root", str(tmp_path))
    assert result.exit_code == 2
    assert "config.json: 2 bytes" in result.output
