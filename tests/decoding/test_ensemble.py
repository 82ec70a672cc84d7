"""Teachers that translate together: what each finds, all score."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from wd.config import DecodingConfig, TokenizerConfig
from wd.data.schema import BOS
from wd.data.tokenizer import Tokenizer
from wd.data.tokenizer_training import train_tokenizer
from wd.decoding.engine import Translator
from wd.decoding.ensemble import Ensemble
from wd.model.directory import load_transformer, save_model
from wd.model.transformer import Transformer

SETTINGS = DecodingConfig(beam_size=3, max_length=12, batch_tokens=256, length_penalty=0.8)


@pytest.fixture
def folders(
    tmp_path: Path,
    sentences: list[str],
    tokenizer_folder: Path,
    random_model: Callable[..., Transformer],
) -> list[Path]:
    """Two models, of different tokenizers and seeds."""
    own = tmp_path / "tokenizer"
    own.mkdir()
    table = pa.table({"source": sentences, "target": [line.upper() for line in sentences]})
    pq.write_table(table, own / "part-00000.parquet")
    train_tokenizer(own, own, TokenizerConfig(vocabulary_size=45, byte_fallback=False))
    for number, pieces in enumerate((tokenizer_folder, own)):
        model = random_model(seed=number)
        config = model.config
        if pieces == own:
            size = Tokenizer.load(own).source_vocabulary
            config = config.model_copy(
                update={"source_vocabulary": size, "target_vocabulary": size}
            )
            torch.manual_seed(1)
            model = Transformer(config)
        save_model(tmp_path / f"model-{number}", config, model.state_dict(), pieces)
    return [tmp_path / "model-0", tmp_path / "model-1"]


def log_probability(folder: Path, line: str, text: str) -> float:
    """Return what torch says."""
    tokenizer, model = Tokenizer.load(folder), load_transformer(folder)
    (source,), (target,) = tokenizer.encode_source([line]), tokenizer.encode_target([text])
    with torch.inference_mode():
        logits = model(torch.tensor([source]), torch.tensor([[BOS, *target[:-1]]]))
    found = logits[0].float().log_softmax(-1)
    return float(found[range(len(target)), target].sum())


def test_what_all_find_is_scored_by_all(folders: list[Path], sentences: list[str]) -> None:
    lines = [*sentences[:7], " ", sentences[9]]
    translators = [Translator.from_directory(folder, threads=1) for folder in folders]
    beams = [translator.n_best(lines, SETTINGS, 3) for translator in translators]
    found = Ensemble(translators).n_best(lines, SETTINGS, 6)
    for line, several, *beam in zip(lines, found, *beams, strict=True):
        proposals = {one.text: one for one in reversed([*beam[0], *beam[1]])}
        assert {one.text for one in several} == set(proposals)
        if line == " ":
            assert [(one.text, one.score) for one in several] == [(" ", 0.0)]
            continue
        expected = {
            text: sum(log_probability(folder, line, text) for folder in folders)
            / 2
            / one.tokens**0.8
            for text, one in proposals.items()
        }
        assert {one.text: one.score for one in several} == pytest.approx(expected, abs=1e-3)
        ranked = [one.score for one in several]
        assert ranked == sorted(ranked, reverse=True)
    # Neither of the two alone decides.
    alone = [[several[0].text for several in beam] for beam in beams]
    together = [several[0].text for several in found]
    assert together not in alone
    assert [one[0] for one in Ensemble(translators).n_best(lines, SETTINGS, 1)] == [
        several[0] for several in found
    ]


def test_one_alone_translates_as_ever(folders: list[Path], sentences: list[str]) -> None:
    alone = Translator.from_directory(folders[0], threads=1)
    ensemble = Ensemble.from_directories(folders[:1], quantization="auto", device="cpu", threads=1)
    lines = sentences[:9]
    assert ensemble.n_best(lines, SETTINGS, 2) == alone.n_best(lines, SETTINGS, 2)
