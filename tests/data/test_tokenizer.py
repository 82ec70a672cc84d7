from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from wd.config import SPECIAL_PIECES, TokenizerConfig
from wd.data.schema import BOS, EOS, PAD, UNK, part_name
from wd.data.tokenizer import SOURCE_MODEL, TARGET_MODEL, Tokenizer
from wd.data.tokenizer_training import train_tokenizer
from wd.errors import ArtifactError, DataError

PLAIN = TokenizerConfig(vocabulary_size=60, byte_fallback=False)
"""Without bytes, which take more pieces than these texts have."""


def changed(**changes: object) -> TokenizerConfig:
    return TokenizerConfig.model_validate(PLAIN.model_dump() | changes)


@pytest.fixture
def train(tmp_path: Path, sentences: list[str]) -> Path:
    folder = tmp_path / "train"
    folder.mkdir()
    for index in range(2):
        half = sentences[index::2]
        table = pa.table({"source": [line.swapcase() for line in half], "target": half})
        pq.write_table(table, folder / part_name(index))
    return folder


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("model_type", ["bpe", "unigram"])
def test_round_trip_and_special_ids(
    tmp_path: Path, train: Path, sentences: list[str], joint: bool, model_type: str
) -> None:
    size = 44 if joint else 34
    config = changed(vocabulary_size=size, joint=joint, model_type=model_type)
    assert train_tokenizer(train, tmp_path, config) == {"sentences_per_side": len(sentences)}
    models = [(tmp_path / name).read_bytes() for name in (SOURCE_MODEL, TARGET_MODEL)]
    assert (models[0] == models[1]) == joint
    tokenizer = Tokenizer.load(tmp_path)
    assert (tokenizer.source_vocabulary, tokenizer.target_vocabulary) == (size, size)
    for pieces in (tokenizer.source_pieces, tokenizer.target_pieces):
        assert tuple(pieces[:4]) == SPECIAL_PIECES
    assert (PAD, UNK, BOS, EOS) == (0, 1, 2, 3)
    lines = [*sentences[:5], ""]
    encoded = tokenizer.encode_target(lines)
    assert all(ids[-1] == EOS and EOS not in ids[:-1] for ids in encoded)
    assert encoded[-1] == [EOS]
    assert tokenizer.decode_target([[BOS, *ids, PAD, PAD] for ids in encoded]) == lines
    assert tokenizer.decode_target([]) == []
    assert tokenizer.encode_source([]) == []


def test_same_text_same_bytes(tmp_path: Path, train: Path) -> None:
    for model_type in ("bpe", "unigram"):
        config = changed(model_type=model_type)
        models = []
        for _ in range(2):
            train_tokenizer(train, tmp_path, config)
            models.append((tmp_path / SOURCE_MODEL).read_bytes())
        assert models[0] == models[1]


def test_sample_is_spread_over_the_parts(tmp_path: Path, train: Path, sentences: list[str]) -> None:
    config = changed(training_sentences=len(sentences) - 1)
    assert train_tokenizer(train, tmp_path, config) == {"sentences_per_side": len(sentences) // 2}


@pytest.mark.parametrize("model_type", ["bpe", "unigram"])
def test_vocabulary_too_large_names_a_size_that_works(
    tmp_path: Path, train: Path, model_type: str
) -> None:
    config = changed(vocabulary_size=30_000, model_type=model_type)
    with pytest.raises(DataError, match=r"vocabulary_size=30000 is too large") as caught:
        train_tokenizer(train, tmp_path, config)
    assert not (tmp_path / SOURCE_MODEL).exists()
    possible = int(str(caught.value).split("yields ")[1].split()[0])
    train_tokenizer(train, tmp_path, changed(vocabulary_size=possible, model_type=model_type))
    assert Tokenizer.load(tmp_path).source_vocabulary == possible


def test_vocabulary_smaller_than_the_alphabet(tmp_path: Path, train: Path) -> None:
    with pytest.raises(DataError, match=r"vocabulary_size=8 is too small"):
        train_tokenizer(train, tmp_path, changed(vocabulary_size=8))


def test_each_side_has_its_own_size(tmp_path: Path, train: Path) -> None:
    config = changed(joint=False, vocabulary_size=50, target_vocabulary_size=40)
    train_tokenizer(train, tmp_path, config)
    tokenizer = Tokenizer.load(tmp_path)
    assert (tokenizer.source_vocabulary, tokenizer.target_vocabulary) == config.sizes == (50, 40)
    config = changed(joint=False, vocabulary_size=50, target_vocabulary_size=30_000)
    with pytest.raises(
        DataError, match=r"target_vocabulary_size=30000 .* set tokenizer\.target_voc"
    ):
        train_tokenizer(train, tmp_path, config)


def test_missing_or_damaged_model(tmp_path: Path, tokenizer_folder: Path) -> None:
    with pytest.raises(ArtifactError, match=r"source\.model: no such tokenizer model"):
        Tokenizer.load(tmp_path)
    model = (tokenizer_folder / SOURCE_MODEL).read_bytes()
    for name in (SOURCE_MODEL, TARGET_MODEL):
        (tmp_path / name).write_bytes(model[: len(model) // 2])
    with pytest.raises(ArtifactError, match="damaged"):
        Tokenizer.load(tmp_path)


def test_a_damaged_part_is_named(tmp_path: Path, train: Path) -> None:
    part = train / part_name(1)
    held = part.read_bytes()
    part.write_bytes(held[: len(held) // 2])
    with pytest.raises(ArtifactError, match=r"part-00001\.parquet: not a whole Parquet file"):
        train_tokenizer(train, tmp_path, PLAIN)
    part.write_bytes(held[:20] + b"\xff" * 20 + held[40:])
    with pytest.raises(DataError, match=r"part-00001\.parquet: not a whole Parquet file.*[^ \n]$"):
        train_tokenizer(train, tmp_path, PLAIN)


def test_bytes_are_spelt_whatever_their_pieces_order_is(tmp_path: Path, train: Path) -> None:
    config = changed(vocabulary_size=320, byte_fallback=True, joint=False)
    train_tokenizer(train, tmp_path, config)
    model = ModelProto.FromString((tmp_path / TARGET_MODEL).read_bytes())
    ordered = [*model.pieces[:4], *reversed(model.pieces[4:])]
    del model.pieces[:]
    model.pieces.extend(ordered)
    tokenizer = Tokenizer((tmp_path / SOURCE_MODEL).read_bytes(), model.SerializeToString())
    lines = ["der é ran", "\U0001f600 北京"]
    assert tokenizer.decode_target(tokenizer.encode_target(lines)) == lines
