from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wd.config import (
    GeneratorConfig,
    ModelConfig,
    ShardsConfig,
    StackOverride,
    StackShape,
    StudentShape,
    TrainingConfig,
)
from wd.data.schema import CORPUS
from wd.data.shards import write_training_shard, write_validation_shard
from wd.data.tokenizer import Tokenizer
from wd.model.directory import save_model
from wd.model.transformer import Transformer
from wd.training.job import TrainingJob
from wd.training.validation import HeldOut

Job = Callable[..., TrainingJob]


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
def job(tmp_path: Path, held_out: HeldOut) -> Job:
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
