"""A whole run up to the evaluation without Ray and MLflow.

Both are installed here, so the processes refuse to import them.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from wd.files import sha256

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
REFUSING = """
import sys

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("ray", "mlflow"):
            raise ModuleNotFoundError(f"{name} is refused", name=name)

sys.meta_path.insert(0, Refusing())
"""


def python(*arguments: str, first: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python with this checkout, and before it the folder `first`, on its path."""
    paths = [str(path) for path in (first, ROOT) if path]
    environment = {"OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "token"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )


def files(root: Path, *stages: str) -> dict[str, str]:
    """Return the digests of all that some stages made, by place, manifests apart."""
    found = (path for stage in stages for path in sorted((root / stage).rglob("*")))
    return {
        str(path.relative_to(root)): sha256(path)
        for path in found
        if path.is_file() and path.name != "manifest.json"
    }


@pytest.fixture
def refusing(tmp_path: Path) -> Path:
    folder = tmp_path / "refusing"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(REFUSING)
    for library in ("ray", "mlflow"):
        assert f"{library} is refused" in python("-c", f"import {library}", first=folder).stdout
    return folder


def test_corpus_to_evaluation(
    refusing: Path, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe, root = write_recipe(tmp_path), tmp_path / "root"
    command = ("-m", "pipelines", "run", str(recipe), "tracking.uri=none", "ray.workers=0")
    done = python(*command, first=refusing)
    assert done.returncode == 0, done.stdout
    assert "left out  registry: tracking.uri is none" in done.stdout
    assert not (root / "mlflow.db").exists()
    assert len(list(root.glob("evaluation/*/report.json"))) == 1

    # Ray Data makes the same bytes of what it maps.
    command = ("-m", "pipelines", "shards", str(recipe), "tracking.uri=none", "ray.workers=1")
    done = python(*command, f"root={tmp_path / 'by-ray'}")
    assert done.returncode == 0, done.stdout
    mapped = files(tmp_path / "by-ray", "corpus", "tokenizer", "shards")
    assert len(mapped) > 5
    assert mapped.items() <= files(root, "corpus", "tokenizer", "shards").items()
