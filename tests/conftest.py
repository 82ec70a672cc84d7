import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from wd.config import ModelConfig, StackShape, TokenizerConfig
from wd.data.tokenizer import Tokenizer, train_tokenizer
from wd.model.directory import save_model
from wd.model.transformer import Transformer

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
