"""`wd translate` and `wd export` as commands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.tools.model_folder import model_folder as resolved
from pipelines.tools.translate import translate
from wd.errors import ArtifactError, DataError
from wd.manifest import describe_files

ROOT = Path(__file__).parents[3]
SETTINGS = {"beam_size": 1, "max_length": 10, "device": "cpu", "threads": 1}


def _wd(*arguments: str, text: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines", *arguments],
        input=text,
        capture_output=True,
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200"},
        timeout=120,
        check=False,
    )


def test_lines_in_are_lines_out(model_folder: Path, tmp_path: Path, sentences: list[str]) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    lines = [sentences[0], "", "a\u2028b\fc", sentences[1] + "\r", sentences[2]]
    source.write_bytes("\n".join(lines).encode())
    translate(str(model_folder), source, target, **SETTINGS)
    written = target.read_bytes().decode().split("\n")
    assert len(written) == len(lines) + 1
    assert written[1] == written[-1] == ""
    arguments = ["--beam", "1", "--max-length", "10", "--device", "cpu"]
    piped = _wd("translate", str(model_folder), *arguments, text=source.read_bytes())
    assert piped.returncode == 0, piped.stderr
    assert piped.stdout == target.read_bytes()


def test_text_longer_than_a_chunk_keeps_its_order(
    model_folder: Path,
    tmp_path: Path,
    sentences: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, written = tmp_path / "in", []
    source.write_text("\n".join(sentences[:10]))
    for chunk in (3, 100):
        monkeypatch.setattr("pipelines.tools.translate.CHUNK", chunk)
        translate(str(model_folder), source, tmp_path / "out", **SETTINGS)
        written.append((tmp_path / "out").read_text())
    assert written[0] == written[1]


def test_text_that_is_not_utf8_leaves_no_output(model_folder: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(b"Baum\nB\xe4r\n")
    with pytest.raises(DataError, match=r"line 2 is not UTF-8 \(byte 1\)"):
        translate(str(model_folder), source, target, **SETTINGS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "model"]
    with pytest.raises(DataError, match="no such file"):
        translate(str(model_folder), tmp_path / "absent", None, **SETTINGS)


def test_a_model_is_a_folder_or_an_artifact(model_folder: Path, tmp_path: Path) -> None:
    assert resolved(str(model_folder)) == model_folder
    with pytest.raises(ArtifactError, match="neither a folder nor an artifact"):
        resolved("student/none-0", str(tmp_path))
    artifact = tmp_path / "student" / "tiny-0"
    artifact.parent.mkdir()
    model_folder.rename(artifact)
    manifest = {"files": describe_files(artifact)}
    (artifact / "manifest.json").write_text(json.dumps(manifest))
    assert resolved("student/tiny-0", str(tmp_path)) == artifact


def test_a_damaged_artifact_is_called_that(model_folder: Path) -> None:
    manifest = {"files": {"gone.txt": {"bytes": 1, "sha256": ""}}}
    (model_folder / "manifest.json").write_text(json.dumps(manifest))
    root, name = model_folder.parent.parent, f"{model_folder.parent.name}/{model_folder.name}"
    with pytest.raises(ArtifactError, match=r"damaged: gone\.txt: missing"):
        resolved(name, str(root))


def test_mistakes_are_one_message_and_exit_2(model_folder: Path, tmp_path: Path) -> None:
    weights = model_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    out = str(tmp_path / "new")
    for arguments, message in (
        (["translate", str(model_folder)], "model.safetensors"),
        (["translate", str(tmp_path / "absent")], "neither a folder nor an artifact"),
        (["export", str(model_folder), out], "model.safetensors"),
        (["translate", str(model_folder), "-o", str(tmp_path)], "is a folder"),
        (["translate", str(model_folder), "-o", f"{out}/of/none"], "there is no folder"),
        (["translate", "models:/name"], "models:/name@ALIAS"),
        (["export", str(model_folder), out, "--format", "hf"], "use ctranslate2"),
    ):
        done = _wd(*arguments, text=b"Baum\n")
        told = done.stderr.decode()
        assert done.returncode == 2, told
        assert message in told
        assert "Traceback" not in told
        assert len(told.splitlines()) == 1
        assert done.stdout == b""
