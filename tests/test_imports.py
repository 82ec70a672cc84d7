"""Imports point one way, and Ray and MLflow come in by their own doors only."""

import ast
import re
from collections.abc import Collection, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

OURS = ("wd", "pipelines", "tune_spaces", "cluster")

LAYERS = (
    ("wd.errors", "wd.files", "wd.identity", "wd.language_codes", "wd.machine", "wd.svg"),
    ("wd.installed", "wd.logs"),
    ("wd.manifest", "wd.places"),
    ("wd.store",),
    ("wd.config",),
    ("wd.artifact", "wd.artifacts", "wd.status", "wd.tracking"),
    ("wd.data", "wd.model"),
    ("wd.generator", "wd.decoding"),
    ("wd.training", "wd.evaluation", "wd.interop"),
    ("wd.registry",),
    ("wd.distributed",),
    ("wd.serving",),
    ("pipelines.context",),
    ("pipelines.stages", "pipelines.tools"),
    ("pipelines.studies",),
    ("pipelines.commands",),
    ("pipelines.__main__", "pipelines.run", "cluster"),
)
"""Rooms: nothing imports from a later layer, and rooms of one layer not from each other in turn."""

DOORS = {
    "ray": ("wd.distributed", "wd.serving", "tune_spaces"),
    "mlflow": ("wd.tracking", "wd.registry"),
    # Reading with these runs what others wrote, or unpacks it anywhere.
    **dict.fromkeys(("pickle", "cloudpickle", "dill", "shelve", "marshal", "tarfile"), ()),
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
    return module == package or module.startswith(f"{package}.")


def layer(module: str) -> int | None:
    for number, packages in enumerate(LAYERS):
        if any(within(module, package) for package in packages):
            return number
    return None


def modules(root: Path) -> dict[str, Path]:
    found = {}
    for path in sorted(root.glob("[!.]*/**/*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[0] in OURS:
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def graph(root: Path) -> dict[str, set[str]]:
    """Return module -> the modules of ours that it imports, wherever in the file."""
    known = modules(root)
    edges: dict[str, set[str]] = {}
    for module, path in known.items():
        named = imports(path, module)
        # `from wd.model import layers` is a module's name, `from wd.config import Recipe` is not.
        targets = {name if name in known else name.rpartition(".")[0] for name in named}
        edges[module] = {target for target in targets if target in known}
    return edges


def room(module: str) -> str:
    """Return the sub-package, or the file beside them, that a module belongs to."""
    return ".".join(module.split(".")[:2])


def rooms(edges: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    """Return the graph of the rooms, without the arrows inside them."""
    found: dict[str, set[str]] = {}
    for module, targets in edges.items():
        own = found.setdefault(room(module), set())
        own |= {room(target) for target in targets} - {room(module)}
    return found


def circle(edges: Mapping[str, Collection[str]]) -> list[str]:
    """Return a circle of imports, none if there is none."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def violations(root: Path) -> list[str]:
    return [
        f"{module} imports {imported}: {reason}"
        for module, path in modules(root).items()
        for imported in imports(path, module)
        if (reason := _breach(module, imported))
    ]


def _breach(module: str, imported: str) -> str | None:
    for library, doors in DOORS.items():
        if within(imported, library) and not any(within(module, door) for door in doors):
            return f"only {', '.join(doors) or 'nobody'} may import {library}"
    if within(module, "tune_spaces"):
        ours = imported.split(".")[0] in (*OURS, "ray")
        if ours and not any(within(imported, allowed) for allowed in TUNE_SPACES_MAY_IMPORT):
            return f"tune_spaces may import {', '.join(TUNE_SPACES_MAY_IMPORT)} only"
        return None
    own, other = layer(module), layer(imported)
    if own is not None and other is not None and other > own:
        return "that is a later layer"
    return None


def test_the_tree_keeps_the_rules() -> None:
    assert violations(ROOT) == []


def test_no_library_is_asked_to_unpickle_or_unpack() -> None:
    asked = re.compile(
        r"torch\.load\((?!.*weights_only=True)|allow_pickle=True|\.extract(?:all)?\(|yaml\.unsafe_load"
    )
    assert [name for name, path in modules(ROOT).items() if asked.search(path.read_text())] == []


def test_no_module_imports_itself_round_a_circle() -> None:
    edges = graph(ROOT)
    assert len(edges) > 100, "the tree is not where it is looked for"
    assert circle(edges) == []


def test_no_room_imports_itself_round_a_circle() -> None:
    between = rooms(graph(ROOT))
    assert "wd.generator" in between["wd.training"]
    assert circle(between) == []


def test_every_module_has_a_layer() -> None:
    homeless = [
        name
        for name, path in modules(ROOT).items()
        if layer(name) is None and path.name != "__init__.py" and not within(name, "tune_spaces")
    ]
    assert homeless == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("from wd.model import b", "import wd.model.a"),
        ("from wd.model.b import x", "def f():\n    from wd.model import a"),
        ("from .b import x", "from ..model.a import y"),
    ],
)
def test_a_circle_of_modules_is_found(tmp_path: Path, first: str, second: str) -> None:
    plant(tmp_path, {"wd/model/a.py": first, "wd/model/b.py": second})
    assert set(circle(graph(tmp_path))) == {"wd.model.a", "wd.model.b"}


def test_a_circle_of_rooms_is_found_without_one_of_modules(tmp_path: Path) -> None:
    imported = {"wd/data/b.py": "import torch", "wd/data/c.py": "from wd.model import a"}
    plant(tmp_path, {"wd/model/a.py": "from wd.data import b", **imported})
    assert circle(graph(tmp_path)) == []
    assert set(circle(rooms(graph(tmp_path)))) == {"wd.model", "wd.data"}


def plant(root: Path, files: Mapping[str, str]) -> None:
    for place, code in files.items():
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("wd/model/layers.py", "import ray"),
        ("wd/data/shards.py", "from ray.data import Dataset"),
        ("wd/training/loop.py", "def train():\n    import mlflow"),
        ("wd/distributed/map.py", "import mlflow"),
        ("wd/training/checkpoint.py", "import pickle"),
        ("pipelines/stages/teacher.py", "import ray.train"),
        ("cluster/submit.py", "from ray.job_submission import JobSubmissionClient"),
        ("wd/model/transformer.py", "from wd.training import loop"),
        ("wd/model/transformer.py", "from wd import training"),
        ("wd/model/transformer.py", "from ..training import loop"),
        ("wd/training/__init__.py", "from ..distributed import map"),
        ("wd/registry.py", "from wd.distributed.runtime import ensure_ray"),
        ("wd/distributed/tune.py", "import pipelines.stages.student"),
        ("tune_spaces/grouping.py", "from wd.model.sizes import count_parameters"),
        ("tune_spaces/grouping.py", "import ray.train"),
    ],
)
def test_a_violation_is_caught(tmp_path: Path, place: str, code: str) -> None:
    plant(tmp_path, {place: code})
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
    plant(tmp_path, {place: code})
    assert violations(tmp_path) == []
