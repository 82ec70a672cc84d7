import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

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
from wd.data.schema import CORPUS
from wd.data.shards import write_training_shard, write_validation_shard
from wd.data.tokenizer import Tokenizer, train_tokenizer
from wd.model.directory import save_model
from wd.model.transformer import Transformer
from wd.training.job import TrainingJob
from wd.training.validation import HeldOut

NOUNS = ("Hund", "Katze", "Haus", "Baum", "Kind", "Stadt")
VERBS = ("sieht", "findet", "kennt", "malt", "sucht")


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    """Small but various: every subject, verb and object."""
    return [f"Der {one} {verb} das {two}." for one in NOUNS for verb in VERBS for two in NOUNS]


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory, sentences: list[str]) -> Path:
    """A joint tokenizer of 60 pieces."""
    folder = tmp_path_factory.mktemp("tokenizer")
    table = pa.table({"source": sentences, "target": [line.upper() for line in sentences]})
    pq.write_table(table, folder / "part-00000.parquet")
    train_tokenizer(folder, folder, TokenizerConfig(vocabulary_size=60))
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
            **changes,
        }
        start: dict[str, Any] = {"model": teacher}
        if phase == "generator":
            folder = tmp_path / "teacher"
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
