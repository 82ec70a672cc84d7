"""A recipe's teacher from elsewhere: nothing trains it, and its pieces are the recipe's."""

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from pipelines.commands.cli import app
from pipelines.commands.recipe_arguments import read_recipe
from pipelines.context import Run
from pipelines.stages.everything import everything
from pipelines.stages.imported import imported_teacher
from pipelines.stages.pseudo import pseudo
from pipelines.stages.student import student
from pipelines.stages.teacher import teacher
from pipelines.tools.plan import plan
from wd.config import Recipe, overridden
from wd.data.schema import EOS
from wd.data.tokenizer import Tokenizer
from wd.errors import ArtifactError, ConfigError, UserError
from wd.files import sha256
from wd.interop.importing import import_model
from wd.interop.marian_hf_export import export_marian_hf
from wd.interop.recognition import source_of
from wd.model.directory import WEIGHTS, load_config, load_model, load_transformer

pytest.importorskip("transformers")
marian_models = pytest.importorskip("tests.interop.marian_models")

NARROW = ("students.tiny.tied_embeddings=decoder", "students.tiny.decoder.heads=2")
HERE = ("tracking.uri=none", "ray.workers=0", "pseudo.drop_loops=false", "pseudo.max_length=9")
Read = Callable[..., Recipe]


@pytest.fixture
def marian(tmp_path: Path, write_recipe: Callable[..., Path]) -> Path:
    """A MarianMT model beside a recipe, `small.yaml`, of the same two languages."""
    write_recipe(tmp_path, training={"updates": 2, "validate_every": 2, "warmup_updates": 1})
    texts = [(tmp_path / f"text.{language}").read_text() for language in ("de", "en")]
    folder = tmp_path / "marian"
    marian_models.write_marian(folder, tuple(text.splitlines() for text in texts), noise=0.5)
    return folder


@pytest.fixture
def read(tmp_path: Path, marian: Path) -> Read:
    """Return a function from a teacher and overrides to the recipe."""

    def of(source: object = marian, *overrides: str) -> Recipe:
        given = (f"teacher.from={source}", *NARROW, *HERE, *overrides)
        return read_recipe(str(tmp_path / "small.yaml"), given)

    return of


def planned(recipe: Recipe) -> dict[str, str]:
    """Return stage -> hash of what a run would make."""
    with Run(recipe, dry=True, quiet=True) as run:
        everything(run)
    return {name.rpartition("-")[0]: name.rpartition("-")[2] for name in run.outlook}


def test_the_recipe_has_the_models_shape_and_pieces(read: Read, marian: Path) -> None:
    recipe, pieces = read(), len(json.loads((marian / "vocab.json").read_text())) + 1
    teacher, tiny = recipe.teacher_model, recipe.student_model
    assert (teacher.source_vocabulary, teacher.target_vocabulary) == (pieces, pieces)
    assert (teacher.activation, teacher.norm, teacher.positions) == ("silu", "post", "paper")
    assert (tiny.positions, tiny.output_bias, tiny.decoder.layers) == ("paper", True, 1)
    told = plan(recipe)
    assert "teacher" not in told["training"]
    assert told["student_parameters"] < told["teacher_parameters"]


def test_a_plan_of_it_needs_no_torch(read: Read, tmp_path: Path, marian: Path) -> None:
    arguments = ["plan", str(tmp_path / "small.yaml"), f"teacher.from={marian}", *NARROW, "--json"]
    code = (
        f"import sys; from pipelines.commands import cli; sys.argv[1:] = {arguments}\n"
        "try: cli.main()\n"
        "finally: print([m for m in ('torch', 'ray', 'mlflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told, heavy = done.stdout.splitlines()
    assert json.loads(told)["compression"] < 1
    assert heavy == "[]"


def test_its_identity_is_its_bytes(read: Read, marian: Path) -> None:
    before = planned(read())
    assert before.keys() > {"teacher/small", "tokenizer/small", "pseudo/small"}
    moved = shutil.move(marian, marian.with_name("moved"))
    assert planned(read(moved)) == before
    weights = Path(moved) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    after = planned(read(moved))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == before.keys() - {"corpus/small"}


class Code:
    """Pickled, it is code that leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self._mark,))


def test_a_bad_model_is_one_message_and_exit_2(
    marian: Path, model_folder: Path, tmp_path: Path
) -> None:
    """Nothing of it runs, and nothing is left half-written."""
    mark, recipe = tmp_path / "ran", tmp_path / "small.yaml"
    config, weights = (model_folder / name for name in ("config.json", WEIGHTS))
    text, whole = config.read_text(), weights.read_bytes()

    def refused(folder: Path, message: str) -> None:
        for line in (
            ["import", str(folder), str(tmp_path / "out")],
            ["teacher", str(recipe), f"teacher.from={folder}", *NARROW, *HERE],
        ):
            done = CliRunner().invoke(app, line)
            assert done.exit_code == 2, done.output
            (told,) = [one for one in done.stderr.splitlines() if " making " not in one]
            assert message in told

    (marian / WEIGHTS).unlink()
    (marian / "pytorch_model.bin").write_bytes(pickle.dumps(Code(mark)))
    refused(marian, "pytorch_model.bin: ")
    changed = json.loads((marian / "config.json").read_text()) | {"model_type": "t5"}
    (marian / "config.json").write_text(json.dumps(changed))
    refused(marian, "type t5 cannot be imported; what can be is")
    weights.write_bytes(whole[:-100])
    refused(model_folder, "not a whole safetensors file")
    weights.write_bytes(whole)
    config.write_text(text.replace('vocabulary": 60', 'vocabulary": 61'))
    refused(model_folder, "has shape (60, 32), the config says (61, 32)")
    assert not mark.exists()
    assert not (tmp_path / "out").exists()
    assert list(tmp_path.glob("root/teacher/*")) == []


def test_further_teachers_translate_with_the_recipes(tmp_path: Path, marian: Path) -> None:
    def read_with(*teachers: object) -> Recipe:
        setting = f"pseudo.teachers=[{', '.join(map(str, teachers))}]"
        return read_recipe(str(tmp_path / "small.yaml"), (*HERE, setting))

    alone, together = planned(read_with()), planned(read_with(marian))
    assert together.keys() - alone.keys() == {"teacher/small-further"}
    same = {name for name in alone if alone[name] == together[name]}
    assert same == {"corpus/small", "tokenizer/small", "shards/small", "teacher/small"}
    with Run(read_with(marian)) as run:
        said = pseudo(run)
    further = said.manifest["inputs"]["teacher-2"]
    assert further != said.manifest["inputs"]["teacher"]
    own, theirs = (load_config(tmp_path / "root" / name) for name in (teacher(run).name, further))
    assert own.target_vocabulary != theirs.target_vocabulary
    assert planned(read_with(shutil.move(marian, marian.with_name("moved")))) == together
    with pytest.raises(UserError, match="nowhere"):
        planned(read_with(tmp_path / "nowhere"))


def test_what_fits_this_teacher_only_is_taken_with_it(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    text = path.read_text().replace("d_model: 16", "d_model: 12")  # 4 heads divide it, not 8
    path.write_text(text + "tokenizer: {}\n" if "tokenizer" not in text else text)
    recipe = read()
    assert recipe.student_model.decoder.d_model == 12


@pytest.mark.slow
def test_a_run_with_it_and_a_second_hop(read: Read, marian: Path, tmp_path: Path) -> None:
    recipe = read()
    with Run(recipe, quiet=True) as run:
        made = everything(run)
        first = imported_teacher(run)
        wd = student(run, "wd")
    assert set(made) == {"evaluation"}
    assert first.metrics["difference"] < 1e-3
    assert first.metrics["published"] == "imported"
    assert load_config(wd.path).positions == "paper"
    pieces = Tokenizer.load(first.path).source_pieces
    assert Tokenizer.load(wd.path).source_pieces == pieces
    again = Run(recipe, dry=True, quiet=True)
    everything(again)
    assert set(again.outlook.values()) == {"exists"}

    # The student, by its artifact's name and by its folder, is the teacher of a smaller one.
    for place in (wd.name, wd.path):
        second = read(place, "students.tiny.decoder.feed_forward=8")
        assert second.teacher.shape.decoder.d_model == 16
        with Run(second, quiet=True) as run:
            hop = imported_teacher(run)
            smaller = student(run, "wd")
        assert sha256(hop.path / WEIGHTS) == sha256(wd.path / WEIGHTS)
        assert load_model(smaller.path)[0].decoder.feed_forward == 8
        assert run.outlook == {}


@pytest.mark.slow
def test_a_distilled_student_goes_back_to_where_its_teacher_came_from(
    read: Read, marian: Path, tmp_path: Path
) -> None:
    recipe = read(marian, "students={tiny: {decoder: {layers: 1, feed_forward: 24}}}")
    with Run(recipe, quiet=True) as run:
        tiny = student(run, "wd")
    export_marian_hf(tiny.path, tmp_path / "hf")
    (tmp_path / "back").mkdir()
    import_model(source_of(tmp_path / "hf"), tmp_path / "back")
    ours, back = load_transformer(tiny.path), load_transformer(tmp_path / "back")
    assert ours.config == back.config
    assert ours.config.decoder.layers == 1
    most = min(ours.config.source_vocabulary, ours.config.target_vocabulary)
    source, target = torch.randint(4, most, (3, 9)), torch.randint(4, most, (3, 8))
    with torch.no_grad():
        assert torch.equal(ours(source, target)[..., EOS:], back(source, target)[..., EOS:])


def test_what_is_no_model_is_told(read: Read, tmp_path: Path, marian: Path) -> None:
    with pytest.raises(ArtifactError, match="nowhere: neither a folder nor an artifact below"):
        read("nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no model that can be imported, which is a folder of"):
        read(tmp_path / "empty")
    with pytest.raises(UserError, match="models:/nothing: say models:/nothing@ALIAS"):
        read("models:/nothing")


def test_a_recipe_that_has_another_shape_is_refused(read: Read) -> None:
    recipe = read()
    stack: dict[str, Any] = {"teacher.shape.activation": "relu"}
    with pytest.raises(ConfigError, match=r"teacher\.from: .* has not the recipe's shape"):
        planned(overridden(recipe, stack))
