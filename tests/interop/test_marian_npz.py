"""A model of Marian's is, imported, the same model: as CTranslate2, which reads it too, has it."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest
import sentencepiece as spm
import torch
import yaml
from ctranslate2.converters import MarianConverter

from wd.config import MAX_POSITIONS, DecodingConfig, ModelConfig, StackShape
from wd.data.tokenizer import Tokenizer
from wd.decoding.engine import Translator
from wd.errors import ArtifactError, UserError
from wd.interop.importing import import_model
from wd.interop.marian_npz import SETTINGS, MarianNpz
from wd.interop.marian_npz_weights import marian_name
from wd.interop.recognition import source_of
from wd.model.directory import load_config
from wd.model.transformer import Transformer, position_table

FOLDER, LENGTH = "marian", 10
STACK = StackShape(layers=2, d_model=32, heads=4, feed_forward=48)
TELLING: dict[str, Any] = {
    **{"type": "transformer", "version": "v1.9", "dim-emb": 32, "enc-depth": 2, "dec-depth": 2},
    **{"transformer-heads": 4, "transformer-dim-ffn": 48, "transformer-ffn-activation": "swish"},
    **{"transformer-decoder-autoreg": "self-attention", "transformer-no-projection": False},
    **{"transformer-preprocess": "", "transformer-postprocess": "dan"},
    **{"transformer-postprocess-emb": "d", "transformer-postprocess-top": ""},
    **{"transformer-guided-alignment-layer": "last", "transformer-tied-layers": []},
}
PRE = {
    **{"transformer-preprocess": "n", "transformer-postprocess": "da"},
    "transformer-postprocess-top": "n",
}
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "post, all tied": ({"tied-embeddings-all": True}, {"tied_embeddings": "all"}),
    "pre, tied": ({"tied-embeddings": True, **PRE}, {"tied_embeddings": "decoder", "norm": "pre"}),
    "post, relu": ({"transformer-ffn-activation": "relu"}, {"activation": "relu"}),
}
TABLES = {
    "source_embedding.weight": "encoder_Wemb",
    "target_embedding.weight": "decoder_Wemb",
    "output_projection.weight": "decoder_ff_logit_out_Wt",
}


class Written:
    """A folder such as OPUS-MT's: a model, a vocabulary and two SentencePiece models."""

    def __init__(self, folder: Path, languages: tuple[list[str], list[str]], kind: str) -> None:
        self.folder = folder
        folder.mkdir()
        pieces = {"</s>": None, "<unk>": None}
        for name, lines in zip(("source", "target"), languages, strict=True):
            model = _trained(lines)
            (folder / f"{name}.spm").write_bytes(model)
            processor = spm.SentencePieceProcessor(model_proto=model)
            pieces |= {processor.id_to_piece(i): None for i in range(2, len(processor) - 1)}
        self.pieces = [*pieces, "no", "1.0"]
        lines = [f"{_quoted(piece)}: {index}\n" for index, piece in enumerate(self.pieces)]
        (folder / "opus.vocab.yml").write_text("".join(lines))
        telling, shape = KINDS[kind]
        self.telling = TELLING | telling
        self.config = _config(len(self.pieces), shape)
        torch.manual_seed(3)
        self.state = {
            name: each + (0.2 if each.dim() == 1 else 0.5) * torch.randn_like(each)
            for name, each in Transformer(self.config).state_dict().items()
        }
        self.save()

    def save(self, **more: Any) -> None:
        """Write the .npz file."""
        np.savez(self.folder / "model.npz", **(self.arrays() | more))

    def arrays(self) -> dict[str, Any]:
        text = yaml.safe_dump(self.telling).encode() + b"\0"
        arrays: dict[str, Any] = {SETTINGS: np.frombuffer(text, np.int8)}
        for name, each in self.state.items():
            array = each.numpy()
            if name in TABLES:
                one = self.config.tied_embeddings == "all"
                arrays["Wemb" if one else TABLES[name]] = array
            elif name == "output_bias":
                arrays["decoder_ff_logit_out_b"] = array[None]
            else:
                flat = array[None] if array.ndim == 1 else array.T
                arrays[marian_name(name, pre_norm=self.config.norm == "pre")] = flat
        return arrays

    def engine(self, scratch: Path) -> ctranslate2.Translator:
        """Return CTranslate2's own conversion, given Marian's positions and not the paper's."""
        table = position_table(self.config, self.config.encoder).numpy()
        assert table.shape == (MAX_POSITIONS, 32)
        np.savez(scratch / "with_positions.npz", **self.arrays(), Wpos=table)
        vocabulary = str(self.folder / "opus.vocab.yml")
        converter = MarianConverter(str(scratch / "with_positions.npz"), [vocabulary, vocabulary])
        converter.convert(str(scratch / "ct2"))
        return ctranslate2.Translator(str(scratch / "ct2"), compute_type="float32")


def _trained(lines: list[str], **ids: int) -> bytes:
    written = io.BytesIO()
    spm.SentencePieceTrainer.train(
        **{"sentence_iterator": iter(lines), "model_writer": written, "vocab_size": 60},
        **{"hard_vocab_limit": False, "minloglevel": 2, "eos_id": 0, "unk_id": 1, "bos_id": -1},
    )
    return written.getvalue()


def _quoted(piece: str) -> str:
    return f'"{piece}"' if piece[0] in "</,.?!▁" else piece


def _config(pieces: int, shape: dict[str, Any]) -> ModelConfig:
    fields = {"encoder": STACK, "decoder": STACK, "activation": "silu", "output_bias": True}
    sizes = {"source_vocabulary": pieces, "target_vocabulary": pieces}
    return ModelConfig.model_validate(fields | sizes | shape)


@pytest.fixture
def write(tmp_path: Path, sentences: list[str]) -> Callable[..., Written]:
    def written(kind: str = "post, all tied") -> Written:
        other = [line.upper().replace("E", "É") for line in sentences]
        return Written(tmp_path / FOLDER, (sentences, other), kind)

    return written


def imported(folder: Path) -> tuple[MarianNpz, Path, dict[str, Any]]:
    source = source_of(folder / FOLDER)
    assert isinstance(source, MarianNpz)
    assert "model.npz" in source.identity["sha256"]
    (folder / "ours").mkdir()
    return source, folder / "ours", import_model(source, folder / "ours")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beam", [1, 3])
def test_translations_are_ctranslate2s(
    write: Callable[..., Written], tmp_path: Path, sentences: list[str], kind: str, beam: int
) -> None:
    theirs = write(kind)
    _, out, found = imported(tmp_path)
    assert (found["kind"], found["difference"]) == ("Marian", None)
    assert found["tensors"] == len(theirs.arrays()) - 1
    texts = [*sentences[::9], "Der Hund, 中国 ÉÉ Ö!"]
    cut = spm.SentencePieceProcessor(model_file=str(theirs.folder / "source.spm"))
    expected = theirs.engine(tmp_path).translate_batch(
        [cut.encode(text, out_type=str) for text in texts],
        **{"beam_size": beam, "length_penalty": 1.0, "min_decoding_length": 1},
        **{"max_decoding_length": LENGTH, "return_scores": True},
    )
    settings = DecodingConfig(beam_size=beam, max_length=LENGTH, length_penalty=1.0)
    ours = Translator.from_directory(out, threads=1).translate(texts, settings)
    pieces = Tokenizer.load(out).target_pieces
    said = [[pieces[piece] for piece in each.pieces if pieces[piece] != "</s>"] for each in ours]
    assert said == [each.hypotheses[0] for each in expected]
    scores = [each.scores[0] for each in expected]
    assert [each.score for each in ours] == pytest.approx(scores, abs=1e-3)
    assert len({tuple(row) for row in said}) > 1


def test_a_target_language_is_named_once(
    write: Callable[..., Written], tmp_path: Path, sentences: list[str]
) -> None:
    theirs = write()
    vocabulary = theirs.folder / "opus.vocab.yml"
    vocabulary.write_text(vocabulary.read_text().replace("1.0:", '">>fra<<":'))
    with pytest.raises(UserError, match=r"teacher\.into=fra"):
        imported(tmp_path)
    (tmp_path / "ours").mkdir(exist_ok=True)
    import_model(source_of(theirs.folder, "fra"), tmp_path / "ours")
    cut = spm.SentencePieceProcessor(model_file=str(theirs.folder / "source.spm"))
    tokenizer = Tokenizer.load(tmp_path / "ours")
    listed, texts = tokenizer.source_pieces, sentences[::20]
    pieces = [[">>fra<<", *cut.encode(text, out_type=str), "</s>"] for text in texts]
    known = [[each if each in listed else "<unk>" for each in row] for row in pieces]
    assert [[listed[each] for each in ids] for ids in tokenizer.encode_source(texts)] == known


def test_a_vocabulary_may_be_sentencepieces(
    write: Callable[..., Written], tmp_path: Path, sentences: list[str]
) -> None:
    """Marian's own have its ids: the end first, then the unknown piece."""
    theirs = write()
    for path in theirs.folder.glob("*.*"):
        path.unlink()
    model = _trained(sentences)
    (theirs.folder / "vocab.spm").write_bytes(model)
    processor = spm.SentencePieceProcessor(model_proto=model)
    size = len(processor)
    table = torch.randn(size, 32)
    theirs.state |= {"source_embedding.weight": table, "output_bias": torch.zeros(size)}
    theirs.save()
    source, out, _ = imported(tmp_path)
    assert source.is_joint
    assert load_config(out).source_vocabulary == size + 2  # <pad> and <s>
    ours, rows = Tokenizer.load(out), source.vocabularies[0].rows
    for line in sentences[::7]:
        mine = [rows[piece] for piece in ours.encode_source([line])[0]]
        assert mine == [*processor.encode(line), 0]


@pytest.mark.parametrize(
    ("telling", "message"),
    [
        ({"type": "s2s"}, "type: .*Marian's `transformer`"),
        ({"transformer-ffn-activation": "gelu"}, "transformer-ffn-activation: .*relu or swish"),
        ({"transformer-decoder-autoreg": "rnn"}, "autoreg: .*self-attention in the decoder"),
        ({"transformer-preprocess": "n"}, "wired as n, dan, none; .*pre-norm .n, da, n."),
        ({"transformer-tied-layers": [1, 1]}, "tied-layers: .*no factors and no layers that"),
        ({"enc-depth": 3}, "it lacks the tensor encoder_l3_self_Wq"),
        ({"dec-depth": 1}, r"26 of its \d+ tensors have no place"),
        ({"output-omit-bias": True}, "1 of its .* no place .*: decoder_ff_logit_out_b"),
    ],
    ids=str,
)
def test_what_cannot_be_imported_says_why(
    write: Callable[..., Written], tmp_path: Path, telling: dict[str, Any], message: str
) -> None:
    theirs = write()
    theirs.telling |= telling
    theirs.save()
    with pytest.raises(UserError, match=message):
        imported(tmp_path)


def test_damage_is_told(write: Callable[..., Written], tmp_path: Path) -> None:
    theirs = write()
    model, vocabulary = theirs.folder / "model.npz", theirs.folder / "opus.vocab.yml"

    def refused(path: Path, content: bytes, message: str) -> None:
        before = path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match=message):
            imported(tmp_path)
        if (tmp_path / "ours").exists():
            (tmp_path / "ours").rmdir()
        path.write_bytes(before)

    refused(model, model.read_bytes()[:-99], r"model\.npz: not a whole \.npz file")
    changed = bytearray(model.read_bytes())
    changed[len(changed) // 2] ^= 255
    refused(model, bytes(changed), r"model\.npz: not a whole \.npz file")
    refused(model, b"", r"model\.npz: not a whole \.npz file")
    refused(vocabulary, b"a: 0\nb: 2\n", r"vocab\.yml: damaged: its ids are not 0 to 1")
    refused(vocabulary, b"- a\n", r"vocab\.yml: damaged: not a mapping")
    refused(vocabulary, b"a: 0\nb: 1\n", r"vocab\.yml: it has no piece </s>")
    refused(theirs.folder / "target.spm", b"no", r"target\.spm: not a whole SentencePiece model")
    theirs.save(**{SETTINGS: np.array([object()], dtype=object)})
    refused(vocabulary, vocabulary.read_bytes(), "damaged|not a whole")
    (theirs.folder / "target.spm").unlink()
    theirs.save()
    (theirs.folder / "other.spm").write_bytes((theirs.folder / "source.spm").read_bytes())
    with pytest.raises(ArtifactError, match=r"which SentencePiece model\? .*other\.spm, source"):
        imported(tmp_path)
