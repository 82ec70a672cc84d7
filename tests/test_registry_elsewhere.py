"""A version answers where this project is not installed: its requirements are all that it needs."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.mlflow_server import free_port
from tests.test_registry import EVIDENCE
from tests.waiting import answers, wait_until
from wd.config import EvaluationConfig
from wd.decoding.engine import Translator
from wd.registry.packaging import saved_model

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
SETTINGS = EvaluationConfig(beam_size=2, max_length=20)
LINES = ["Der Hund sieht die Katze.", "", "Das Kind malt das Haus."]
PROGRAM = """
import importlib.util, json, sys, mlflow
assert not any(map(importlib.util.find_spec, ("wd", "torch", "ray")))
print(json.dumps(list(mlflow.pyfunc.load_model(sys.argv[1]).predict(json.loads(sys.argv[2])))))
"""


@contextmanager
def served(environment: Path, model: str) -> Iterator[str]:
    """Run `mlflow models serve` of an environment; yield its address when it answers."""
    port = free_port()
    path = f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
    command = ["mlflow", "models", "serve", "-m", model, "--env-manager", "local"]
    server = subprocess.Popen(
        [environment / "bin" / command[0], *command[1:], "--port", str(port)],
        env={**os.environ, "PATH": path, "PYTHONPATH": ""},
        start_new_session=True,
    )
    try:
        ping = f"http://127.0.0.1:{port}/ping"
        wait_until(lambda: answers(ping), alive=lambda: server.poll() is None, seconds=120)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(server.pid, 15)
        server.wait()


def asked(address: str, content: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        address, json.dumps(content).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["predictions"]


def test_with_its_requirements_alone(model_folder: Path, tmp_path: Path) -> None:
    expected = [
        found.text for found in Translator.from_directory(model_folder).translate(LINES, SETTINGS)
    ]
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    with saved_model(model_folder, SETTINGS, EVIDENCE) as model:
        wanted = Path(model) / "requirements.txt"
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", wanted], check=True)
        told = subprocess.run(
            [python, "-c", PROGRAM, model, json.dumps(LINES)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": ""},
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(told.stdout) == expected
        with served(environment, model) as address:
            assert asked(address, {"inputs": LINES}) == expected
            greedy = asked(address, {"inputs": LINES, "params": {"beam_size": 1}})
    one = SETTINGS.model_copy(update={"beam_size": 1})
    found = Translator.from_directory(model_folder).translate(LINES, one)
    assert greedy == [each.text for each in found]
