"""`wd translate` and `wd export` as commands."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.commands.cli import app
from pipelines.tools.model_folder import model_folder as resolved
from pipelines.tools.translate import translate
from wd.artifacts import Identity, Metrics, Store
from wd.config import DecodingConfig
from wd.errors import ArtifactError, ConfigError, DataError
from wd.manifest import describe_files
from wd.places import below

ROOT = Path(__file__).parents[3]
DECODING = DecodingConfig(beam_size=1, max_length=10)
ASKED = {"beam_size": 1, "max_length": 10}
SETTINGS = {"asked": ASKED, "device": "cpu", "threads": 1}


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
    lines = [sentences[0], "", "a\u2028b\fc", sentences[1] + "\r", " \u200b", sentences[2]]
    source.write_bytes("\n".join(lines).encode())
    translate(str(model_folder), source, target, **SETTINGS)
    written = target.read_bytes().decode().split("\n")
    assert len(written) == len(lines) + 1
    assert written[1] == written[-1] == ""
    assert written[4] == " \u200b"
    arguments = ["--beam", "1", "--max-length", "10", "--device", "cpu"]
    piped = _wd("translate", str(model_folder), *arguments, text=source.read_bytes())
    assert piped.returncode == 0, piped.stderr
    assert piped.stdout == target.read_bytes()


def test_an_address_in_a_store_names_a_model(
    model_folder: Path, tmp_path: Path, store_root: str, sentences: list[str]
) -> None:
    def build(out: Path) -> Metrics:
        shutil.copytree(model_folder, out / "student")
        return {}

    made = Store(store_root).publish(Identity("generator", "test", 1, {}, {}), build)
    source, one, other = tmp_path / "in", tmp_path / "one", tmp_path / "other"
    source.write_text("".join(f"{line}\n" for line in sentences[:3]))
    translate(str(model_folder), source, one, **SETTINGS)
    address = below(store_root, f"{made.name}/student")
    translate(address, source, other, **SETTINGS)
    assert other.read_text() == one.read_text()
    assert _wd("export", address, str(tmp_path / "exported")).returncode == 0
    for wrong, told in ((made.name[:-12] + "0" * 12, "no such artifact"), ("x", "give ROOT/STAGE")):
        done = _wd("translate", below(store_root, wrong))
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert told in done.stderr.decode()


def test_translations_that_were_cut_are_told(
    write_parrot: Callable[..., Path], sentences: list[str]
) -> None:
    text = "\n".join([*sentences[:4], ""]).encode()
    arguments = ["--beam", "1", "--device", "cpu", "--max-length", "7"]
    done = _wd("translate", str(write_parrot("endless", 20, endless=True)), *arguments, text=text)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 4)
    told = "warning: translate: 4 of 4 translations were cut at 7 pieces: raise --max-length"
    assert f" {told}" in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.filterwarnings("error")
def test_whole_translations_are_not_told(
    write_parrot: Callable[..., Path], tmp_path: Path, sentences: list[str]
) -> None:
    source = tmp_path / "in"
    source.write_text("\n".join(sentences[:4]))
    translate(str(write_parrot("short", 20, endless=False)), source, tmp_path / "out", **SETTINGS)


def test_output_appears_while_input_still_comes(model_folder: Path, sentences: list[str]) -> None:
    command = [sys.executable, "-m", "pipelines", "translate", str(model_folder)]
    options = ["--beam", "1", "--max-length", "10", "--device", "cpu"]
    with subprocess.Popen(
        [*command, *options], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        answers = []
        for line in (*sentences[:2], "", sentences[2]):
            process.stdin.write(f"{line}\n".encode())
            process.stdin.flush()
            answers.append(process.stdout.readline())
        process.stdin.close()
        assert process.stdout.read() == b""
    assert all(answer.endswith(b"\n") for answer in answers)
    assert answers[2] == b"\n"


def test_lines_of_any_kind_are_as_many_lines_out(
    model_folder: Path, tmp_path: Path, sentences: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    count = write_mixed(source, 3000, sentences)
    translate(str(model_folder), source, target, **SETTINGS)
    asked, made = (path.read_bytes().split(b"\n") for path in (source, target))
    assert len(made) == len(asked) == 3001
    assert [line == b"" for line in made] == [line == b"" for line in asked]
    for line in (sentences[0], sentences[1]):
        answers = {made[at] for at, one in enumerate(asked) if one == line.encode()}
        assert len(answers) == 1, "an answer is not at its question's place"
    assert f"{count} lines had more than 1024 pieces and were translated in parts" in caplog.text


@pytest.mark.long
def test_a_hundred_thousand_lines_take_no_more_memory_than_a_thousand(
    model_folder: Path, tmp_path: Path, sentences: list[str]
) -> None:
    peaks = []
    for lines in (5_000, 100_000):
        source, target = tmp_path / "in", tmp_path / "out"
        write_mixed(source, lines, sentences)
        arguments = ["--beam", "1", "--max-length", "10", "--device", "cpu", "--threads", "1"]
        code = (
            "import resource; from pipelines.commands.cli import app;"
            f"app(['translate', {str(model_folder)!r}, '-i', {str(source)!r}, '-o', "
            f"{str(target)!r}, *{arguments!r}], standalone_mode=False);"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, timeout=500
        )
        peaks.append(int(done.stdout) / 1024)
        assert target.read_bytes().count(b"\n") == lines
    assert peaks[1] < peaks[0] + 64, f"MB: {peaks}"


def write_mixed(path: Path, lines: int, sentences: list[str]) -> int:
    """Write lines as texts from anywhere have them; return how many are too long for a model."""
    odd = {
        7: "",
        11: "\u4f60\u597d\u4e16\u754c \u0645\u0631\u062d\u0628\u0627 \u1f600 \u041c\u0438\u0440",
        13: "a\x00b\x07\x1b[31m c\u2028d\u2029e\x0bf\x85g\r",
        17: " \u200b\ufeff",
        501: "Der Hund sieht das Haus. " * 100,
        997: "hund" * 600,
    }
    with path.open("wb") as stream:
        for number in range(1, lines + 1):
            kinds = [text for step, text in odd.items() if number % step == 0]
            line = kinds[-1] if kinds else sentences[number % 50]
            stream.write(f"{line}\n".encode())
    return sum(number % 501 == 0 or number % 997 == 0 for number in range(1, lines + 1))


def test_a_paragraph_is_translated_sentence_by_sentence(
    model_folder: Path, tmp_path: Path, sentences: list[str]
) -> None:
    source, whole, split = tmp_path / "in", tmp_path / "whole", tmp_path / "split"
    source.write_text(f"{sentences[0]} {sentences[7]}\n\n{sentences[3]}\n")
    translate(str(model_folder), source, split, split="deu", **SETTINGS)
    source.write_text("".join(f"{sentences[number]}\n" for number in (0, 7, 3)))
    translate(str(model_folder), source, whole, **SETTINGS)
    first, second, third = whole.read_text().splitlines()
    assert split.read_text().splitlines() == [f"{first} {second}", "", third]
    with pytest.raises(ConfigError, match="language xx1: no language's code"):
        translate(str(model_folder), source, whole, split="xx1", **SETTINGS)


def test_nonsense_settings_are_refused(model_folder: Path) -> None:
    for option, value in (
        ("--beam", "65"),
        ("--max-length", "1025"),
        ("--length-penalty", "-1e300"),
        ("--length-penalty", "nan"),
        ("--batch-tokens", "10000000"),
    ):
        done = CliRunner().invoke(app, ["translate", str(model_folder), option, value])
        assert (done.exit_code, done.stdout) == (2, "")
        assert option.removeprefix("--") in done.stderr.replace("_", "-")


def test_text_longer_than_a_chunk_keeps_its_order(
    model_folder: Path,
    tmp_path: Path,
    sentences: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, written = tmp_path / "in", []
    source.write_text("\n".join(sentences[:10]))
    for chunk in (3, 100):
        monkeypatch.setattr("pipelines.tools.incoming.LINES", chunk)
        translate(str(model_folder), source, tmp_path / "out", **SETTINGS)
        written.append((tmp_path / "out").read_text())
    assert written[0] == written[1]


def test_a_pipe_is_written_to_and_not_replaced(
    model_folder: Path, tmp_path: Path, sentences: list[str]
) -> None:
    text, pipe = tmp_path / "in.txt", tmp_path / "pipe"
    text.write_text(f"{sentences[0]}\n")
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reading:
        done = CliRunner().invoke(
            app, ["translate", str(model_folder), "-i", str(text), "-o", str(pipe)]
        )
        assert done.exit_code == 0, done.output
        assert reading.stdout is not None
        assert len(reading.stdout.read().splitlines()) == 1
    assert pipe.is_fifo()


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
        (["export", str(model_folder), out, "--format", "onnx"], "use ctranslate2 or hf"),
    ):
        done = CliRunner().invoke(app, arguments, input="Baum\n")
        assert done.exit_code == 2, done.output
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert done.stdout == ""


def test_an_artifact_s_name_goes_with_the_default_root(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = tmp_path / "artifacts" / "student" / "tiny-0"
    artifact.parent.mkdir(parents=True)
    model_folder.rename(artifact)
    (artifact / "manifest.json").write_text(json.dumps({"files": describe_files(artifact)}))
    monkeypatch.chdir(tmp_path)
    assert resolved("student/tiny-0") == artifact


def test_a_file_s_translation_says_how_far_it_is_and_how_it_ended(
    model_folder: Path,
    sentences: list[str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    lines = (sentences * 30)[:5000]
    source.write_text("".join(f"{line}\n" for line in lines))
    monkeypatch.setattr("pipelines.tools.line_progress._EVERY_SECONDS", 0)
    translate(str(model_folder), source, target, **SETTINGS)
    last = caplog.messages
    assert "translate: 2,048 of 5,000 lines" in last
    assert any(line.startswith("translate: 5,000 lines in ") for line in last)
    assert any(line.endswith(f"lines/s): {target}") for line in last)


def test_a_file_s_translation_shows_a_bar_on_a_terminal(
    model_folder: Path, sentences: list[str], tmp_path: Path
) -> None:
    import pty

    source = tmp_path / "in"
    source.write_text("".join(f"{line}\n" for line in sentences[:20]))
    leader, follower = pty.openpty()
    out = str(tmp_path / "out")
    arguments = ["translate", str(model_folder), "-i", str(source), "-o", out, "--beam", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", *arguments, "--max-length", "10"],
        cwd=ROOT,
        stderr=follower,
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=120,
    )
    os.close(follower)
    shown = os.read(leader, 100_000).decode()
    assert done.returncode == 0
    assert "20/20" in shown
    assert "20 lines in" in shown
