import os
import signal
import uuid
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from tests.device import DEVICE, EXACT
from tests.store.s3_server import CREDENTIALS, root_on, s3_server
from wd.config import (
    GeneratorConfig,
    ModelConfig,
    ShardsConfig,
    StackOverride,
    StackShape,
    StudentShape,
    TokenizerConfig,
    TrainingConfig,
)
from wd.data.schema import CORPUS, EOS
from wd.data.shards import write_training_shard, write_validation_shard
from wd.data.tokenizer import Tokenizer
from wd.data.tokenizer_training import train_tokenizer
from wd.model.directory import save_model
from wd.model.transformer import Transformer
from wd.training.job import TrainingJob
from wd.training.validation import HeldOut

os.environ.pop("MLFLOW_TRACKING_URI", None)  # whose server it may be
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where we run in the background

NOUNS = {
    **{"Hund": "dog", "Katze": "cat", "Haus": "house"},
    **{"Baum": "tree", "Kind": "child", "Stadt": "town"},
}
VERBS = {"sieht": "sees", "findet": "finds", "kennt": "knows", "malt": "paints", "sucht": "seeks"}
RECIPE = """
name: small
source_language: de
target_language: en
corpus: {train: ["text.{lang}"], valid_fraction: 0.1, test_fraction: 0.1, part_pairs: 60}
tokenizer: {vocabulary_size: 90, byte_fallback: false}
shards: {batch_tokens: 400}
teacher:
  shape:
    encoder: &stack {layers: 2, d_model: 32, heads: 2, feed_forward: 64}
    decoder: *stack
    norm: pre
students: {tiny: {decoder: {layers: 1, d_model: 16, feed_forward: 32}}}
pseudo: {beam_size: 1, max_length: 30}
evaluation: {beam_size: 2, max_length: 30, speed_repeats: 1}
ray: {workers: 0, map_cpus: 0.5}
"""
TRAINING = {
    **{"updates": 8, "batches_per_update": 1, "learning_rate": 0.005, "warmup_updates": 4},
    **{"validate_every": 4, "bleu_sentences": 5},
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give a file's slow tests to one process, for what they share; the short ones fill the end."""
    slow = [item for item in items if item.get_closest_marker("slow")]
    for item in slow:
        item.add_marker(pytest.mark.xdist_group(item.path.stem))
    items.sort(key=lambda item: item not in slow)


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Let torch compute with two threads: bits depend on how many add up."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    """Small but various: every subject, verb and object."""
    return [f"Der {one} {verb} das {two}." for one in NOUNS for verb in VERBS for two in NOUNS]


@pytest.fixture(scope="session")
def write_recipe(sentences: list[str]) -> Callable[..., Path]:
    """Return a function that writes 180 German-English pairs and a recipe that takes seconds.

    `training` changes all three phases, further keywords replace the recipe's sections. Returns
    the recipe's path; its text and its root are beside it.
    """
    facts = product(NOUNS.values(), VERBS.values(), NOUNS.values())
    english = [f"The {one} {verb} the {two}." for one, verb, two in facts]

    def write(folder: Path, *, training: dict[str, Any] | None = None, **sections: Any) -> Path:
        for language, lines in (("de", sentences), ("en", english)):
            (folder / f"text.{language}").write_text("".join(f"{line}\n" for line in lines))
        recipe = yaml.safe_load(RECIPE) | sections
        recipe["corpus"]["dir"], recipe["root"] = str(folder), str(folder / "root")
        phase = TRAINING | (training or {})
        recipe["teacher"]["training"] = recipe["fine_tuning"] = phase
        recipe["generator"] = {"training": phase}
        path = folder / f"{recipe['name']}.yaml"
        path.write_text(yaml.safe_dump(recipe))
        return path

    return write


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory, sentences: list[str]) -> Path:
    """A joint tokenizer of 60 pieces."""
    folder = tmp_path_factory.mktemp("tokenizer")
    table = pa.table({"source": sentences, "target": [line.upper() for line in sentences]})
    pq.write_table(table, folder / "part-00000.parquet")
    train_tokenizer(folder, folder, TokenizerConfig(vocabulary_size=60, byte_fallback=False))
    return folder


@pytest.fixture(scope="session")
def random_model(tokenizer_folder: Path) -> Callable[..., Transformer]:
    """Return a function from changes of a tiny config to a random model of it.

    Weights are larger, and biases and gains further from 0 and 1, than at the start of training,
    so that a mistake in any one of them shows.
    """
    size = Tokenizer.load(tokenizer_folder).source_vocabulary

    def make(seed: int = 0, **changes: object) -> Transformer:
        stack = StackShape(layers=2, d_model=32, heads=4, feed_forward=64)
        shape = {"encoder": stack, "decoder": stack, **changes}
        config = ModelConfig(**shape, source_vocabulary=size, target_vocabulary=size)
        torch.manual_seed(seed)
        model = Transformer(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter += 0.2 * torch.randn_like(parameter)
                else:
                    parameter *= 1.5
        return model

    return make


@pytest.fixture
def model_folder(
    tmp_path: Path, tokenizer_folder: Path, random_model: Callable[..., Transformer]
) -> Path:
    """A whole model directory with random weights."""
    model, folder = random_model(), tmp_path / "model"
    save_model(folder, model.config, model.state_dict(), tokenizer_folder)
    return folder


@pytest.fixture
def write_parrot(
    tmp_path: Path, tokenizer_folder: Path, random_model: Callable[..., Transformer]
) -> Callable[..., Path]:
    """Return a function that writes a model that says the same to every line, and its folder.

    It says the piece with the id `piece`: once, or if it is `endless` as long as it may.
    """

    def write(name: str, piece: int, *, endless: bool, tokenizer: Path = tokenizer_folder) -> Path:
        model = random_model(norm="pre")
        state = dict(model.state_dict())
        state["decoder.norm.weight"] = torch.zeros_like(state["decoder.norm.weight"])
        state["decoder.norm.bias"] = torch.ones_like(state["decoder.norm.bias"])
        state["output_projection.weight"] = torch.zeros_like(state["output_projection.weight"])
        state["output_projection.weight"][piece] = 2.0
        state["output_projection.weight"][EOS] = -1.0 if endless else 3.0
        save_model(tmp_path / name, model.config, state, tokenizer)
        return tmp_path / name

    return write


@pytest.fixture(scope="session")
def held_out(
    tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path, sentences: list[str]
) -> HeldOut:
    """Sentences to translate into capitals: `train/` and `valid/` shards, and the valid text."""
    folder = tmp_path_factory.mktemp("data")
    tokenizer = Tokenizer.load(tokenizer_folder)
    config = ShardsConfig(batch_tokens=256)
    for split in ("shards/train", "shards/valid", "corpus"):
        (folder / split).mkdir(parents=True)
    split = {"train": sentences[20:], "valid": sentences[:20]}
    for name, write in (("train", write_training_shard), ("valid", write_validation_shard)):
        targets = [line.upper() for line in split[name]]
        out = folder / "shards" / name / "part-00000.parquet"
        write(split[name], targets, tokenizer, config, out)
    valid = [
        {"id": str(number), "source": line, "target": line.upper(), "origin": "test"}
        for number, line in enumerate(split["valid"])
    ]
    pq.write_table(
        pa.Table.from_pylist(valid, schema=CORPUS), folder / "corpus" / "part-00000.parquet"
    )
    return HeldOut(
        shards=folder / "shards" / "valid",
        corpus=folder / "corpus",
        tokenizer=tokenizer_folder,
        language="de",
    )


@pytest.fixture
def job(tmp_path: Path, held_out: HeldOut) -> Callable[..., TrainingJob]:
    """Return a function that makes a small job: `phase` model or generator, in a named folder."""
    size = Tokenizer.load(held_out.tokenizer).source_vocabulary
    stack = StackShape(layers=2, d_model=16, heads=2, feed_forward=32)
    teacher = ModelConfig(
        encoder=stack, decoder=stack, norm="pre", source_vocabulary=size, target_vocabulary=size
    )

    def make(name: str, phase: str = "model", **changes: Any) -> TrainingJob:
        settings = {
            "updates": 12,
            "batches_per_update": 2,
            "learning_rate": 5e-3,
            "warmup_updates": 4,
            "validate_every": 4,
            "average_last": 2,
            "bleu_sentences": 0,
            "precision": "float32",  # what `auto` takes depends on the machine
            **(EXACT if DEVICE.type == "cuda" else {}),
            **changes,
        }
        start: dict[str, Any] = {"model": teacher}
        if phase == "generator":
            folder = tmp_path / "teacher"
            if not folder.exists():  # the same for every job of a test
                save_model(folder, teacher, Transformer(teacher).state_dict(), held_out.tokenizer)
            shape = StudentShape(decoder=StackOverride(layers=1, d_model=8))
            start = {
                "model": shape.of(teacher),
                "teacher": folder,
                "generator": GeneratorConfig(),
            }
        return TrainingJob(
            name=phase,
            config=TrainingConfig(**settings),
            train=(held_out.shards.with_name("train"),),
            held_out=held_out,
            scratch=tmp_path / name,
            **start,
        )

    return make


@pytest.fixture(scope="session")
def store_server() -> Iterator[str]:
    """The address of an S3 server, one for all tests."""
    with s3_server() as address:
        yield address


@pytest.fixture
def store_root(store_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty root in a store; this process caches it in a folder of the test."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return root_on(store_server, f"bucket/{uuid.uuid4().hex}")


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One small Ray for all tests that need one; it is shut down after the last."""
    import ray

    # Tests define workers too: the workers' processes must find this checkout.
    root = str(Path(__file__).parents[1])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "WARNING")
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=150_000_000,
        logging_level="warning",
    )
    yield
    ray.shutdown()
