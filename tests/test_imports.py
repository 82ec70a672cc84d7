"""Imports point one way, and Ray and MLflow come in by their own doors only."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LAYERS = (
    ("wd.errors", "wd.small_files", "wd.svg"),
    ("wd.manifest",),
    ("wd.config",),
    ("wd.artifacts", "wd.tracking"),
    ("wd.data", "wd.model"),
    ("wd.generator", "wd.decoding"),
    ("wd.training", "wd.evaluation", "wd.interop"),
    ("wd.registry",),
    ("wd.distributed",),
    ("pipelines",),
    ("cluster",),
)
"""Nothing imports from a later layer."""

DOORS = {
    "ray": ("wd.distributed", "tune_spaces"),
    "mlflow": ("wd.tracking", "wd.registry"),
}
"""Library -> who may import it."""

TUNE_SPACES_MAY_IMPORT = ("tune_spaces", "wd.config", "wd.errors", "ray.tune")


def imports(path: Path, module: str) -> Iterator[str]:
    """Yield every module that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = (
                    module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
                )
                parents = package[: len(package) - node.level + 1]
                base = ".".join([*parents, *filter(None, [base])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.") or module.startswith(f"{package}_")


def layer(module: str) -> int | None:
    for number, packages in enumerate(LAYERS):
        if any(within(module, package) for package in packages):
            return number
    return None


def violations(root: Path) -> list[str]:
    found = []
    for path in sorted(root.glob("[!.]*/**/*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[0] not in ("wd", "pipelines", "tune_spaces", "cluster"):
            continue
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        for imported in imports(path, module):
            if reason := _breach(module, imported):
                found.append(f"{module} imports {imported}: {reason}")
    return found


def _breach(module: str, imported: str) -> str | None:
    for library, doors in DOORS.items():
        if within(imported, library) and not any(within(module, door) for door in doors):
            return f"only {', '.join(doors)} may import {library}"
    if within(module, "tune_spaces"):
        ours = imported.split(".")[0] in ("wd", "pipelines", "cluster", "tune_spaces", "ray")
        if ours and not any(within(imported, allowed) for allowed in TUNE_SPACES_MAY_IMPORT):
            return f"tune_spaces may import {', '.join(TUNE_SPACES_MAY_IMPORT)} only"
        return None
    own, other = layer(module), layer(imported)
    if own is not None and other is not None and other > own:
        return "that is a later layer"
    return None


def test_the_tree_keeps_the_rules() -> None:
    assert violations(ROOT) == []


def test_every_module_of_the_library_has_a_layer() -> None:
    homeless = [
        path.name
        for path in (ROOT / "wd").iterdir()
        if (path.suffix == ".py" or path.is_dir())
        and not path.name.startswith(("_", "."))
        and layer(f"wd.{path.stem}") is None
    ]
    assert homeless == []


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("wd/model/layers.py", "import ray"),
        ("wd/data/shards.py", "from ray.data import Dataset"),
        ("wd/training/loop.py", "def train():\n    import mlflow"),
        ("wd/distributed/map.py", "import mlflow"),
        ("pipelines/teacher.py", "import ray.train"),
        ("cluster/submit.py", "from ray.job_submission import JobSubmissionClient"),
        ("wd/model/transformer.py", "from wd.training import loop"),
        ("wd/model/transformer.py", "from wd import training"),
        ("wd/model/transformer.py", "from ..training import loop"),
        ("wd/training/__init__.py", "from ..distributed import map"),
        ("wd/registry.py", "from wd.distributed.runtime import ensure_ray"),
        ("wd/distributed/tune.py", "import pipelines.student"),
        ("tune_spaces/grouping.py", "from wd.model.sizes import count_parameters"),
        ("tune_spaces/grouping.py", "import ray.train"),
    ],
)
def test_a_violation_is_caught(tmp_path: Path, place: str, code: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text(code)
    assert len(violations(tmp_path)) == 1


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("wd/distributed/map.py", "import ray.data\nfrom wd.training import loop"),
        ("wd/tracking/runs.py", "import mlflow\nfrom wd.config import Recipe"),
        ("tune_spaces/grouping.py", "from ray import tune\nfrom wd.config import Recipe"),
        ("wd/model/transformer.py", "import torch\nfrom wd.model import layers"),
    ],
)
def test_what_is_allowed_passes(tmp_path: Path, place: str, code: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text(code)
    assert violations(tmp_path) == []
