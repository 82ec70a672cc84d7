"""`wd serve` as a command: Ray Serve, batches, limits, and the end."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.commands.cli import app
from tests.serving.test_web import asked
from wd.config import DecodingConfig
from wd.serving.model import Model

ROOT = Path(__file__).parents[2]


@contextmanager
def service(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pipelines", "serve", *arguments, "--port", str(port)]
    environment = os.environ | {"RAY_AUTH_MODE": "token", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        try:
            address = process.stdout.readline().strip()
            assert address == f"http://127.0.0.1:{port}"
            yield address, process
        finally:
            process.terminate()


@pytest.mark.long
def test_models_are_served_together_until_somebody_has_enough(
    model_folder: Path, write_parrot: Callable[..., Path], sentences: list[str]
) -> None:
    pytest.importorskip("ray.serve")
    one, other = str(model_folder), str(write_parrot("parrot", 20, endless=True))
    limits = ["--batch", "2", "--queue", "2", "--beam", "2", "--threads", "1", "--device", "cpu"]
    decoding = DecodingConfig(beam_size=2)
    model = Model(one, model_folder, decoding, device="cpu", threads=1)
    with service(one, other, *limits) as (address, process):
        assert asked(f"{address}/health") == (200, {"status": "ok", "models": [one, other]})
        with ThreadPoolExecutor(4) as threads:
            texts = [f"{line}\n\n{line}" for line in sentences[:8]]
            bodies = [{"text": text} for text in texts]
            answers = list(threads.map(lambda body: asked(f"{address}/translate", body), bodies))
        assert {status for status, _ in answers} == {200}
        told = [answer["translation"] for _, answer in answers]
        assert told == [text for text, _ in model.translate(texts)]

        with ThreadPoolExecutor(30) as threads:
            body = {"text": "\n".join(sentences[:6]), "model": other}
            answers = list(threads.map(lambda _: asked(f"{address}/translate", body), range(30)))
        assert {status for status, _ in answers} == {200, 503}
        refused = next(answer for status, answer in answers if status == 503)
        assert refused == {"error": f"{other}: 2 requests wait already; ask again a little later"}
        assert asked(f"{address}/health")[0] == 200

        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


def test_mistakes_are_told_before_anything_is_started(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray.serve")
    folder = str(model_folder)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for arguments, message in (
            ([folder, "--port", port], f"127.0.0.1:{port} cannot be listened at"),
            ([folder, folder], "one of them is there twice"),
            ([f"{folder}/none"], "neither a folder nor an artifact"),
            ([folder, "--split", "german"], "language german: no language's code"),
        ):
            done = CliRunner().invoke(app, ["serve", *arguments, "--threads", "1"])
            assert (done.exit_code, done.stdout) == (2, ""), done.exception
            assert message in done.stderr


def test_without_ray_serve_the_message_says_what_to_install(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wd.serving.service", None)  # as where an import fails
    done = CliRunner().invoke(app, ["serve", str(model_folder)])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "pip install -c constraints.txt 'ray[serve]'" in done.stderr
