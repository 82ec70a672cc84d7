"""Random MarianMT models, written by transformers."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sentencepiece as spm
import torch
from transformers import MarianConfig, MarianMTModel

_WIDTH = 32


def trained(lines: Sequence[str], kind: str) -> bytes:
    """A SentencePiece model such as OPUS-MT has: its own ids, no bytes, no <pad>."""
    written = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=written,
        vocab_size=60,
        model_type=kind,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return written.getvalue()


def pieces_of(model: bytes) -> list[str]:
    processor = spm.SentencePieceProcessor(model_proto=model)
    return [processor.id_to_piece(index) for index in range(3, processor.get_piece_size())]


def write_marian(
    folder: Path,
    languages: tuple[Sequence[str], Sequence[str]],
    *,
    separate: bool = False,
    spm_kind: str = "unigram",
    seed: int = 0,
    noise: float = 0.2,
    tags: Sequence[str] = (),
    **changes: Any,
) -> MarianMTModel:
    """Write a folder that MarianMTModel and MarianTokenizer load; return the model.

    With little `noise` a random model says one word all the time. Of each language one piece is in
    no vocabulary, as there are some in real ones. `tags` are pieces of the source's that are in no
    SentencePiece model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    models = [trained(lines, spm_kind) for lines in languages]
    listed = [[piece for piece in pieces_of(model) if piece != "s"] for model in models]
    listed[0] = [*listed[0], *tags]
    vocabularies = [["</s>", "<unk>", *pieces, "<pad>"] for pieces in listed]
    if not separate:
        together = dict.fromkeys([*vocabularies[0][:-1], *listed[1], "<pad>"])
        vocabularies = [list(together)] * 2
    for side, model, vocabulary in zip(("source", "target"), models, vocabularies, strict=True):
        (folder / f"{side}.spm").write_bytes(model)
        name = "vocab.json" if side == "source" or not separate else "target_vocab.json"
        ids = {piece: index for index, piece in enumerate(vocabulary)}
        (folder / name).write_text(json.dumps(ids, ensure_ascii=False))
    described = {"tokenizer_class": "MarianTokenizer", "separate_vocabs": separate}
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    last = len(vocabularies[1]) - 1
    config = {
        **{f"{stack}_{key}": value for stack in ("encoder", "decoder") for key, value in STACK},
        **{"vocab_size": len(vocabularies[0]), "decoder_vocab_size": len(vocabularies[1])},
        **{"pad_token_id": last, "decoder_start_token_id": last, "eos_token_id": 0},
        **{"d_model": _WIDTH, "scale_embedding": True, "activation_function": "swish"},
        **{"forced_eos_token_id": None, "share_encoder_decoder_embeddings": not separate},
        **changes,
    }
    torch.manual_seed(seed)
    model = MarianMTModel(MarianConfig(**config)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                spread = 0.2 if parameter.dim() == 1 else noise
                parameter += spread * torch.randn_like(parameter)
        model.final_logits_bias.normal_()
    model.save_pretrained(folder)
    return model


STACK = (("layers", 2), ("attention_heads", 4), ("ffn_dim", 48))
