"""A model directory is believed only as far as it can be true."""

import json
from pathlib import Path

import pytest

from wd.errors import ArtifactError
from wd.model.directory import CONFIG, load_config, load_model


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 10_000, "nested too deeply"),
        ('{"encoder": ' * 900 + "1" + "}" * 900, "nested too deeply"),
        ("1" * 9999, "damaged: Exceeds the limit"),
        ("[1]", "must be a section of keys"),
        ("", "damaged: Expecting value"),
        ("\udcff", "damaged: "),
        ('{"encoder": {"layers": true}}', "encoder.layers: .* not True"),
        ("{}" + " " * 1_000_000, "more than 1,000,000 bytes"),
    ],
    ids=lambda text: text[:20],
)
def test_a_config_that_is_none_is_told(model_folder: Path, text: str, message: str) -> None:
    (model_folder / CONFIG).write_text(text, "utf-8", "surrogateescape")
    with pytest.raises(ArtifactError, match=rf"config.json: .*{message}"):
        load_model(model_folder)


@pytest.mark.parametrize("key", ["layers", "d_model", "heads", "feed_forward"])
def test_a_config_that_claims_a_giant_is_refused(model_folder: Path, key: str) -> None:
    config = json.loads((model_folder / CONFIG).read_text())
    config["encoder"][key] = 10**9
    (model_folder / CONFIG).write_text(json.dumps(config))
    with pytest.raises(ArtifactError, match=rf"encoder\.{key}: .*less than or equal to"):
        load_model(model_folder)


def test_a_config_that_is_a_device_is_not_read(model_folder: Path) -> None:
    (model_folder / CONFIG).unlink()
    (model_folder / CONFIG).symlink_to("/dev/zero")
    with pytest.raises(ArtifactError, match=r"config.json: damaged: not a regular file"):
        load_model(model_folder)


def test_what_a_shape_may_be_since_then_is_written_only_where_it_is(
    model_folder: Path, tmp_path: Path
) -> None:
    """Models keep their bytes, and other versions can read what is not unusual."""
    later = {"output_bias", "scale_embeddings", "positions", "first_position"}
    path = model_folder / CONFIG
    tree = json.loads(path.read_text())
    assert later & tree.keys() == set()
    path.write_text(json.dumps(tree | {"positions": "paper", "first_position": 2}))
    config = load_config(model_folder)
    assert (config.positions, config.first_position) == ("paper", 2)
    assert later & config.model_dump().keys() == {"positions", "first_position"}


def test_a_folder_without_a_config_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="not a model directory"):
        load_model(tmp_path)
    (tmp_path / CONFIG).mkdir()
    with pytest.raises(ArtifactError, match="not a regular file"):
        load_model(tmp_path)
