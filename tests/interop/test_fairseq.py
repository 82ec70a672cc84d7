"""A fairseq checkpoint is, imported, the same model.

fairseq itself runs on none of our Pythons; transformers has ported its Transformer twice: FSMT is
the post-norm one, M2M100 the pre-norm one, and both keep its names.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import sentencepiece as spm
import torch
from torch import Tensor

from wd.config import DecodingConfig
from wd.data.schema import BOS, EOS, PAD
from wd.data.tokenizer import Tokenizer
from wd.decoding.engine import Translator
from wd.errors import ArtifactError, ConfigError, UserError
from wd.interop.fairseq import Fairseq
from wd.interop.importing import import_model
from wd.interop.recognition import source_of
from wd.model.directory import load_transformer

transformers = pytest.importorskip("transformers")
marian_models = pytest.importorskip("tests.interop.marian_models")

SIZES = {"d_model": 16, "scale_embedding": True, "activation_function": "relu"} | {
    f"{stack}_{key}": value
    for stack in ("encoder", "decoder")
    for key, value in (("layers", 2), ("attention_heads", 2), ("ffn_dim", 24))
}
FOLDER = "fairseq"


class Written:
    """A fairseq folder, and the model of transformers that computes what it computes."""

    def __init__(self, folder: Path, languages: Sequence[Sequence[str]], *, pre: bool) -> None:
        self.folder = folder
        folder.mkdir()
        self.pieces = []
        for name, lines in zip(("de", "en"), languages, strict=True):
            model = marian_models.trained(lines, "bpe")
            (folder / f"spm.{name}.model").write_bytes(model)
            self.pieces.append([*marian_models.pieces_of(model), "madeupword0000"])
        if pre:  # M2M100 has one vocabulary
            self.pieces = [[*dict.fromkeys(self.pieces[0] + self.pieces[1])]] * 2
        for name, pieces in zip(("de", "en"), self.pieces, strict=True):
            lines = "".join(f"{piece} {9}\n" for piece in pieces)
            (folder / f"dict.{name}.txt").write_text(lines)
        torch.manual_seed(0)
        self.model = (self._m2m100() if pre else self._fsmt()).eval()
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if "embed_positions" not in name:
                    parameter += 0.3 * torch.randn_like(parameter)
        self.arguments = _arguments(pre)
        state = self.model.state_dict()
        state = {name.removeprefix("model."): each for name, each in state.items()}
        self.state = {
            name: each
            for name, each in state.items()
            if name not in ("shared.weight", "lm_head.weight", "base_model.shared.weight")
            and "embed_positions" not in name
        } | {"encoder.version": torch.tensor([3.0]), "decoder.version": torch.tensor([3.0])}
        self.save()

    def save(self, **changes: Any) -> None:
        """Write the checkpoint, as `fairseq-train` does where nothing is changed."""
        whole = {
            "args": argparse.Namespace(**self.arguments),
            "model": self.state,
            "optimizer_history": [{"num_updates": 7, "lr_scheduler_state": {"best": None}}],
            "extra_state": {"epoch": 1, "metrics": [(0, "default", {"_state": {}})]},
        }
        torch.save(whole | changes, self.folder / "checkpoint_best.pt")

    def _fsmt(self) -> Any:
        sizes = [len(pieces) + 4 for pieces in self.pieces]
        config = transformers.FSMTConfig(
            langs=["de", "en"], src_vocab_size=sizes[0], tgt_vocab_size=sizes[1], **SIZES
        )
        return transformers.FSMTForConditionalGeneration(config)

    def _m2m100(self) -> Any:
        config = transformers.M2M100Config(vocab_size=len(self.pieces[0]) + 4, **SIZES)
        return transformers.M2M100ForConditionalGeneration(config)

    def logits(self, source: Tensor, target_in: Tensor) -> Tensor:
        """Return what transformers computes for ids of fairseq's."""
        with torch.no_grad():
            found = self.model(
                input_ids=source,
                attention_mask=(source != 1).long(),
                decoder_input_ids=target_in,
                use_cache=False,  # FSMT with a cache lets positions see what follows them
            )
        logits: Tensor = found.logits
        return logits


def _arguments(pre: bool) -> dict[str, Any]:
    sizes = {
        f"{stack}_{theirs}": SIZES[f"{stack}_{ours}"]
        for stack in ("encoder", "decoder")
        for theirs, ours in (
            ("layers", "layers"),
            ("attention_heads", "attention_heads"),
            ("ffn_embed_dim", "ffn_dim"),
        )
    }
    return {
        **sizes,
        **{"arch": "transformer_iwslt_de_en", "source_lang": "de", "target_lang": "en"},
        **{"encoder_embed_dim": 16, "decoder_embed_dim": 16, "lr": [0.1], "adaptive_softmax": None},
        **dict.fromkeys(("encoder_normalize_before", "decoder_normalize_before"), pre),
        "share_all_embeddings": pre,
        "share_decoder_input_output_embed": pre,
    }


@pytest.fixture
def write(tmp_path: Path, sentences: list[str]) -> Callable[..., Written]:
    def written(*, pre: bool = False) -> Written:
        languages = sentences, [line.upper().replace("E", "É") for line in sentences]
        return Written(tmp_path / FOLDER, languages, pre=pre)

    return written


def imported(folder: Path) -> tuple[Fairseq, Path, dict[str, Any]]:
    source = source_of(folder / FOLDER)
    assert isinstance(source, Fairseq)
    assert source.identity["sha256"].keys() > {"dict.de.txt"}
    (folder / "ours").mkdir()
    return source, folder / "ours", import_model(source, folder / "ours")


@pytest.mark.parametrize("pre", [True, False], ids=["pre", "post"])
def test_logits_are_fairseqs(write: Callable[..., Written], tmp_path: Path, pre: bool) -> None:
    theirs = write(pre=pre)
    source, out, found = imported(tmp_path)
    assert (found["kind"], found["tensors"]) == ("fairseq", len(theirs.state))
    assert found["difference"] is None
    model, (from_, to) = load_transformer(out), source.vocabularies
    ids, target = torch.randint(4, len(from_.rows), (3, 9)), torch.randint(4, len(to.rows), (3, 7))
    ids[:, -1], ids[1, 5:] = EOS, torch.tensor([EOS, PAD, PAD, PAD])
    target[:, 0] = BOS
    rows = [torch.tensor(side.rows) for side in (from_, to)]
    expected = theirs.logits(rows[0][ids], rows[1][target])
    with torch.no_grad():
        logits = model(ids, target)
    torch.testing.assert_close(
        logits[..., EOS:], expected[..., rows[1][EOS:]], rtol=1e-4, atol=1e-4
    )
    assert int(rows[1][BOS]) == 2  # fairseq's decoder reads </s> first


def test_text_is_cut_as_its_model_does(
    write: Callable[..., Written], tmp_path: Path, sentences: list[str]
) -> None:
    theirs = write()
    source, out, _ = imported(tmp_path)
    cut = spm.SentencePieceProcessor(model_file=str(theirs.folder / "spm.de.model"))
    listed = source.vocabularies[0].listed
    rows, ours = source.vocabularies[0].rows, Tokenizer.load(out)
    for line, ids in zip(sentences, ours.encode_source(sentences), strict=True):
        assert [listed[rows[piece]] for piece in ids] == [*cut.encode(line, out_type=str), "</s>"]
    found = Translator.from_directory(out, threads=1).translate(
        sentences[:5], DecodingConfig(beam_size=2, max_length=8)
    )
    assert all(BOS not in each.pieces and PAD not in each.pieces for each in found)


@pytest.mark.parametrize("where", ["args", "cfg", "cfg of a dict"])
def test_settings_are_found_in_any_version(
    write: Callable[..., Written], tmp_path: Path, where: str
) -> None:
    theirs = write()
    model = {key: value for key, value in theirs.arguments.items() if not key.endswith("_lang")}
    task = {key: value for key, value in theirs.arguments.items() if key.endswith("_lang")}
    if where == "cfg":
        theirs.save(args=None, cfg={"model": argparse.Namespace(**theirs.arguments), "task": task})
    elif where == "cfg of a dict":
        theirs.save(args=None, cfg={"model": model | {"_name": "transformer"}, "task": task})
    assert imported(tmp_path)[0].settings.source_lang == "de"


def test_older_checkpoints_hold_queries_keys_and_values_together(
    write: Callable[..., Written], tmp_path: Path
) -> None:
    theirs = write()
    _, out, _ = imported(tmp_path)
    before = load_transformer(out).state_dict()
    for kind in ("weight", "bias"):
        for name in [name for name in theirs.state if name.endswith(f"q_proj.{kind}")]:
            block = name.removesuffix(f"q_proj.{kind}")
            parts = [theirs.state.pop(f"{block}{part}_proj.{kind}") for part in "qkv"]
            theirs.state[f"{block}in_proj_{kind}"] = torch.cat(parts)
    theirs.save()
    (tmp_path / "again").mkdir()
    found = import_model(source_of(theirs.folder), tmp_path / "again")
    assert found["tensors"] == len(theirs.state)
    after = load_transformer(tmp_path / "again").state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before | after)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arch": "lstm"}, "arch: .*fairseq's `transformer` for translation"),
        ({"activation_fn": "gelu_accurate"}, "activation_fn: .*relu, gelu or swish"),
        ({"encoder_learned_pos": True}, "encoder_learned_pos: .*sinusoidal"),
        ({"encoder_normalize_before": True}, "only one stack is pre-norm"),
        ({"adaptive_softmax_cutoff": "100,200"}, "adaptive_softmax_cutoff: .*no adaptive"),
        ({"decoder_layers": 3}, r"it lacks the tensor decoder\.layers\.2"),
        ({"decoder_layers": 1}, r"26 of its \d+ tensors have no place"),
        ({"share_all_embeddings": True}, "share_all_embeddings, but .* are not the same"),
    ],
    ids=str,
)
def test_what_cannot_be_imported_says_why(
    write: Callable[..., Written], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    theirs = write()
    theirs.arguments |= changes
    theirs.save()
    with pytest.raises(UserError, match=message):
        imported(tmp_path)


def test_no_code_of_a_checkpoint_runs(write: Callable[..., Written], tmp_path: Path) -> None:
    theirs, mark = write(), tmp_path / "ran"

    class Code:
        def __reduce__(self) -> Any:
            return (Path.touch, (mark,))

    theirs.save(extra_state=Code())
    with pytest.raises(ArtifactError, match=r"checkpoint_best\.pt: .* would run code.*torch\.save"):
        imported(tmp_path)
    assert not mark.exists()


def test_what_is_missing_or_damaged_is_told(write: Callable[..., Written], tmp_path: Path) -> None:
    theirs = write()
    checkpoint = theirs.folder / "checkpoint_best.pt"

    def refused(message: str) -> None:
        with pytest.raises((ArtifactError, ConfigError), match=message):
            imported(tmp_path)
        if (tmp_path / "ours").exists():
            (tmp_path / "ours").rmdir()

    (theirs.folder / "dict.en.txt").rename(theirs.folder / "dict.fr.txt")
    refused(r"which dictionary is which\? There is to be one file dict")
    (theirs.folder / "dict.fr.txt").rename(theirs.folder / "dict.en.txt")
    content = (theirs.folder / "dict.en.txt").read_text()
    (theirs.folder / "dict.en.txt").write_text(content + "word\n")
    refused(r"dict\.en\.txt: line \d+ is not a piece and a number")
    (theirs.folder / "dict.en.txt").write_text(content + "more 1\n")
    refused(r"rows, its vocabulary \d+ pieces: they were not made for each other")
    (theirs.folder / "dict.en.txt").write_text(content)
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2])
    refused(r"checkpoint_best\.pt: not a whole torch file")
    checkpoint.write_bytes(whole)
    for model in theirs.folder.glob("*.model"):
        model.unlink()
    refused("no SentencePiece model .*subword-nmt")
    checkpoint.rename(theirs.folder / "a.pt")
    (theirs.folder / "b.pt").touch()
    refused(r"which checkpoint\? There is to be one \*\.pt, and there is a\.pt, b\.pt")
