"""A MarianMT model is, imported, the same model: same pieces, same logits, same translations."""

import json
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import sentencepiece as spm
import torch

from wd.config import DecodingConfig
from wd.data.schema import BOS, EOS, PAD, UNK
from wd.data.tokenizer import Tokenizer
from wd.decoding.engine import Translator
from wd.errors import ArtifactError, ConfigError, UserError
from wd.interop.importing import import_model
from wd.interop.marian_hf import MarianHf
from wd.interop.marian_hf_weights import read
from wd.interop.recognition import source_of
from wd.interop.tensors import FORBIDDEN
from wd.model.directory import load_model, load_transformer

transformers = pytest.importorskip("transformers")
marian_models = pytest.importorskip("tests.interop.marian_models")

KINDS: dict[str, dict[str, Any]] = {
    "shared": {},
    "separate": {"separate": True},
    "relu, untied": {"activation_function": "relu", "tie_word_embeddings": False},
    "separate, untied": {"separate": True, "tie_word_embeddings": False},
    "gelu, unscaled, uneven": {
        **{"activation_function": "gelu", "scale_embedding": False},
        **{"decoder_layers": 1, "decoder_attention_heads": 2, "encoder_ffn_dim": 40},
    },
    "bpe": {"spm_kind": "bpe"},
}
LENGTH, CLOSE = 12, 1e-4
Write = Callable[..., Any]


@pytest.fixture(scope="session")
def languages(sentences: list[str]) -> tuple[Sequence[str], Sequence[str]]:
    return sentences, [line.upper().replace("E", "É") for line in sentences]


@pytest.fixture
def write(tmp_path: Path, languages: tuple[Sequence[str], Sequence[str]]) -> Write:
    """Return a function from changes to a MarianMT model, which lies in `tmp_path / "marian"`."""

    def written(**changes: Any) -> Any:
        return marian_models.write_marian(tmp_path / "marian", languages, **changes)

    return written


def imported(folder: Path, into: str | None = None) -> tuple[MarianHf, Path, dict[str, Any]]:
    source = source_of(folder / "marian", into)
    assert isinstance(source, MarianHf)
    out = folder / "ours"
    out.mkdir()
    return source, out, import_model(source, out)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_transformers(write: Write, tmp_path: Path, kind: str) -> None:
    model = write(**KINDS[kind])
    source, out, found = imported(tmp_path)
    assert found["tensors"] == len(model.state_dict()) - _tied(model)
    assert found["difference"] < CLOSE
    config, _ = load_model(out)
    assert config == source.config


def _tied(model: Any) -> int:
    """Entries of a state dict that are not stored: repeated tables, and sinusoids."""
    state = model.state_dict()
    return len(state) - len({each.data_ptr() for each in state.values()}) + 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beam", [1, 4])
def test_translations_are_transformers(
    write: Write, tmp_path: Path, sentences: list[str], kind: str, beam: int
) -> None:
    model = write(**KINDS[kind], noise=0.5)
    source, out, _ = imported(tmp_path)
    texts = [*sentences[::12], "Der Hund, 中国 Ö sieht ÉÉ qq!"]
    tokenizer = transformers.MarianTokenizer.from_pretrained(tmp_path / "marian")
    generated = model.generate(
        **tokenizer(texts, return_tensors="pt", padding=True),
        **{"num_beams": beam, "max_new_tokens": LENGTH, "min_new_tokens": 1},
        **{"bad_words_ids": [[model.config.pad_token_id]], "early_stopping": True},
        renormalize_logits=True,  # else what may not be said has a share of softmaxes
        **{"output_scores": True, "return_dict_in_generate": True},
    )
    settings = DecodingConfig(beam_size=beam, max_length=LENGTH, length_penalty=1.0)
    found = Translator.from_directory(out, threads=1).translate(texts, settings)
    rows = source.vocabularies[1].rows
    ours = [[rows[piece] for piece in each.pieces] for each in found]
    theirs = [_until_end(row[1:].tolist(), model) for row in generated.sequences]
    assert ours == theirs
    if beam > 1:
        scores = [each.score for each in found]
        assert scores == pytest.approx(generated.sequences_scores.tolist(), abs=1e-3)
    assert len({tuple(row) for row in theirs}) > 1


def _until_end(ids: list[int], model: Any) -> list[int]:
    eos = model.config.eos_token_id
    return ids[: ids.index(eos) + 1] if eos in ids else ids


@pytest.mark.parametrize("kind", ["shared", "separate", "bpe"])
def test_text_becomes_the_same_pieces_and_text_again(
    write: Write, tmp_path: Path, languages: tuple[Sequence[str], Sequence[str]], kind: str
) -> None:
    write(**KINDS[kind])
    source, out, _ = imported(tmp_path)
    theirs, ours = (
        transformers.MarianTokenizer.from_pretrained(tmp_path / "marian"),
        Tokenizer.load(out),
    )
    strange = ["s", "É É", "Das Haus, HÄUS.", "中国 中", "x<unlisted>y", "<<<", "   "]
    for side, lines in enumerate(languages):
        texts = [*lines[::9], *languages[1 - side][::40], *strange]
        encode = (ours.encode_source, ours.encode_target)[side]
        rows = source.vocabularies[side].rows
        mine = [[rows[piece] for piece in row] for row in encode(texts)]
        kwargs = {"text_target": texts} if side else {"text": texts}
        assert mine == theirs(**kwargs)["input_ids"]
    ids = ours.encode_target(languages[1][:20])
    again = theirs.batch_decode(
        [[rows[piece] for piece in row] for row in ids], skip_special_tokens=True
    )
    known = [[piece for piece in row if piece != UNK] for row in ids]
    assert ours.decode_target(known) == [text.replace("<unk>", "") for text in again]


def test_a_registered_version_cuts_text_as_well(write: Write, tmp_path: Path) -> None:
    from wd.registry.model import TranslationModel

    write()
    _, out, _ = imported(tmp_path)
    tokenizer, version = Tokenizer.load(out), TranslationModel()
    version.source = spm.SentencePieceProcessor(model_file=str(out / "source.model"))
    listed = tokenizer.source_pieces
    for text in ("Der Hund sieht, ÉÉ.", "s", "中国 <s>", "HÄUS ÉÉÉ <unlisted>"):
        ids = tokenizer.encode_source([text])[0]
        pieces = version._pieces(text)
        assert [piece if piece in listed else "<unk>" for piece in pieces] == [
            listed[piece] for piece in ids
        ]


def test_what_the_source_never_says_is_forbidden(write: Write, tmp_path: Path) -> None:
    model = write()
    source, out, _ = imported(tmp_path)
    transformer = load_transformer(out)
    bias = transformer.state_dict()["output_bias"]
    assert bias[[PAD, BOS]].tolist() == [FORBIDDEN] * 2
    rows = source.vocabularies[1].rows
    assert rows[:4] == [model.config.pad_token_id, 1, model.config.decoder_start_token_id, 0]
    torch.testing.assert_close(bias[EOS:], model.final_logits_bias[0, rows[EOS:]])


def test_a_torch_file_is_read_without_its_code(write: Write, tmp_path: Path) -> None:
    model = write()
    folder, mark = tmp_path / "marian", tmp_path / "ran"
    (folder / "model.safetensors").unlink()
    whole = {**model.state_dict()}  # with sinusoids and repeated tables, as older files have
    torch.save(whole, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    _, _, found = imported(tmp_path)
    assert found["difference"] < CLOSE
    assert found["tensors"] == len(whole)

    class Code:
        def __reduce__(self) -> Any:
            return (Path.touch, (mark,))

    torch.save(whole | {"x": Code()}, folder / "pytorch_model.bin")
    with pytest.raises(ArtifactError, match=r"pytorch_model\.bin: .* would run code"):
        read(source_of(folder))
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Code()))
    with pytest.raises(ArtifactError, match=r"pytorch_model\.bin: "):
        read(source_of(folder))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "bart"}, "type bart cannot be imported; what can be is"),
        ({"activation_function": "gelu_new"}, "activation_function: .*relu, gelu or swish"),
        ({"normalize_before": True}, "normalize_before: .*post-norm"),
        ({"static_position_embeddings": False}, "static_position_embeddings: .*sinusoidal"),
        ({"d_model": 33}, "heads must divide d_model"),
        ({"encoder_layers": 3}, r"it lacks the tensor model\.encoder\.layers\.2"),
        ({"decoder_layers": 1}, r"26 of its \d+ tensors have no place in the model"),
        ({"pad_token_id": 5000}, "speaks of piece 5000: they were not made for each other"),
        ({"scale_embedding": False}, "logits differ by .* from those of its source"),
        ({"tie_word_embeddings": False}, r"it lacks the tensor lm_head\.weight"),
    ],
    ids=str,
)
def test_what_cannot_be_imported_says_why(
    write: Write, tmp_path: Path, change: dict[str, Any], message: str, monkeypatch: Any
) -> None:
    write()
    config = tmp_path / "marian" / "config.json"
    if "scale_embedding" in change:  # as if the import did not know of it
        monkeypatch.setattr(
            MarianHf,
            "config",
            MarianHf(config.parent).config.model_copy(update={"scale_embeddings": False}),
        )
    else:
        config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(UserError, match=message):
        imported(tmp_path)


def test_damage_is_told(write: Write, tmp_path: Path) -> None:
    write()
    folder = tmp_path / "marian"

    def refused(name: str, content: bytes, message: str) -> None:
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(content)
        with pytest.raises((ArtifactError, ConfigError), match=message):
            read(source_of(folder))
        (folder / name).write_bytes(before)

    weights = (folder / "model.safetensors").read_bytes()
    refused(
        "model.safetensors", weights[:-100], r"model\.safetensors: not a whole safetensors file"
    )
    refused("source.spm", b"no model", r"source\.spm: not a whole SentencePiece model")
    refused(
        "vocab.json", b'{"</s>": 0, "<unk>": 2}', r"vocab\.json: damaged: its ids are not 0 to 1"
    )
    refused("vocab.json", b'{"</s>": 0', r"vocab\.json: damaged: ")
    pieces = json.loads((folder / "vocab.json").read_text())
    more = pieces | {"more": len(pieces)}
    refused("vocab.json", json.dumps(more).encode(), r"has \d+ rows, its vocabulary \d+ pieces")
    read(source_of(folder))
    (folder / "target.spm").unlink()
    with pytest.raises(ArtifactError, match=r"not a whole Hugging Face MarianMT model: no target"):
        _ = source_of(folder).identity


def test_the_identity_is_the_bytes(write: Write, tmp_path: Path) -> None:
    write()
    first = source_of(tmp_path / "marian").identity
    (tmp_path / "marian").rename(tmp_path / "moved")
    assert source_of(tmp_path / "moved").identity == first
    write(seed=1)
    assert source_of(tmp_path / "marian").identity != first


def test_weights_may_lie_in_several_files(write: Write, tmp_path: Path) -> None:
    model, folder = write(), tmp_path / "marian"
    whole = source_of(folder)
    expected = read(whole).weights
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    index = folder / "model.safetensors.index.json"
    parts = sorted(folder.glob("model-*.safetensors"))
    assert len(parts) > 2
    source = source_of(folder)
    assert source.identity["sha256"].keys() > {index.name, *(part.name for part in parts)}
    found = read(source).weights
    assert all(torch.equal(expected[name], found[name]) for name in expected.keys() | found.keys())
    assert imported(tmp_path)[2]["difference"] < CLOSE

    told = json.loads(index.read_text())
    name, first = next(iter(told["weight_map"].items()))
    other = next(part.name for part in parts if part.name != first)
    for change, message in (
        ({name: other}, rf"{first}: it has the tensor {name}, other than model\.saf"),
        ({"more": first}, rf"{first}: it lacks the tensor more, other than"),
        ({name: "absent.safetensors"}, r"not a whole .* model: no absent\.safetensors"),
        ({name: "../../elsewhere.safetensors"}, "damaged: it has no `weight_map`"),
        ({name: index.name}, "damaged: it has no `weight_map`"),
    ):
        index.write_text(json.dumps(told | {"weight_map": told["weight_map"] | change}))
        with pytest.raises(ArtifactError, match=message):
            read_all(folder)


def read_all(folder: Path) -> None:
    source = source_of(folder)
    _ = source.files
    read(source)


TAGS = (">>deu<<", ">>fra<<", ">>zho_Hans<<")


@pytest.mark.parametrize("separate", [False, True], ids=["shared", "separate"])
def test_a_target_language_is_named_once(
    write: Write, tmp_path: Path, sentences: list[str], separate: bool
) -> None:
    model = write(tags=TAGS, separate=separate, noise=0.5)
    source, out, _ = imported(tmp_path, "fra")
    texts = [*sentences[::12], "Der Hund, 中国 >>deu<< qq!"]
    theirs = transformers.MarianTokenizer.from_pretrained(tmp_path / "marian")
    inputs = theirs([f">>fra<< {text}" for text in texts], return_tensors="pt", padding=True)
    ours, rows = Tokenizer.load(out), source.vocabularies[0].rows
    assert ours.tag == ">>fra<<"
    expected = [row[: int(mask.sum())].tolist() for row, mask in zip(*inputs.values(), strict=True)]
    assert [[rows[piece] for piece in ids] for ids in ours.encode_source(texts)] == expected
    assert rows[ours.encode_target(["Der Hund"])[0][0]] != expected[0][0]
    generated = model.generate(
        **inputs,
        **{"num_beams": 1, "max_new_tokens": LENGTH, "min_new_tokens": 1},
        bad_words_ids=[[model.config.pad_token_id]],
    )
    settings = DecodingConfig(beam_size=1, max_length=LENGTH)
    translated = Translator.from_directory(out, threads=1).translate(texts, settings)
    rows = source.vocabularies[1].rows
    said = [[rows[piece] for piece in each.pieces] for each in translated]
    assert said == [_until_end(row[1:].tolist(), model) for row in generated]


def test_a_registered_version_and_a_second_hop_have_the_tag(write: Write, tmp_path: Path) -> None:
    from wd.registry.model import TranslationModel

    write(tags=TAGS)
    _, out, _ = imported(tmp_path, "zho_Hans")
    hop = source_of(out)
    (tmp_path / "hop").mkdir()
    import_model(hop, tmp_path / "hop")
    assert hop.is_joint
    tokenizer, version = Tokenizer.load(tmp_path / "hop"), TranslationModel()
    version.source = spm.SentencePieceProcessor(model_file=str(tmp_path / "hop" / "source.model"))
    ids = tokenizer.encode_source(["Der Hund sieht."])[0]
    assert version._pieces("Der Hund sieht.") == [tokenizer.source_pieces[each] for each in ids]
    assert version._pieces("Der Hund sieht.")[0] == ">>zho_Hans<<"


def test_which_language_is_asked_for_and_part_of_the_identity(write: Write, tmp_path: Path) -> None:
    write()
    folder = tmp_path / "marian"
    with pytest.raises(ConfigError, match=r"one language only: leave out into \(deu\)"):
        _ = source_of(folder, "deu").config
    write(tags=TAGS)
    with pytest.raises(
        ConfigError, match=r"deu, fra, zho_Hans: say which, as in teacher\.into=deu"
    ):
        _ = source_of(folder).config
    with pytest.raises(ConfigError, match=r"unknown target language zho_hant.*mean zho_Hans"):
        _ = source_of(folder, "zho_hant").config
    assert source_of(folder, "deu").identity != source_of(folder, "fra").identity
    (tmp_path / "ours").mkdir()
    import_model(source_of(folder, "deu"), tmp_path / "ours")
    with pytest.raises(ConfigError, match="a model directory is into one language only"):
        source_of(tmp_path / "ours", "deu")
