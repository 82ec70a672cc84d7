"""Train Hugging Face's MarianMTModel in a plain loop."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from protocol import (
    ADAM_BETAS,
    ADAM_EPSILON,
    BOS,
    DROPOUT,
    EOS,
    LABEL_SMOOTHING,
    LEARNING_RATE,
    PAD,
    Batch,
    Job,
    Step,
    serve,
)
from torch import Tensor, nn
from torch.nn import functional
from transformers import MarianConfig, MarianMTModel

ATTENTION = {"cpu": "eager", "cuda": "sdpa"}
"""On the CPU plain products are a little faster than the default (sdpa) at sentence lengths."""


Update = Callable[[Sequence[Batch]], Tensor]
"""Takes one optimiser step on some batches; returns the loss in nats per target piece."""


def build(job: Job) -> tuple[nn.Module, Step]:
    """See `protocol.Build`."""
    model, update = build_update(job)
    return model, lambda batch: update([batch])


def build_update(job: Job, *, compiled: bool = False) -> tuple[nn.Module, Update]:
    """Return the model and what takes an optimiser step on as many batches as it is given."""
    model = MarianMTModel(_config(job.model, ATTENTION[job.device])).to(job.device).train()
    optimizer = torch.optim.AdamW(
        [each for each in model.parameters() if each.requires_grad],
        lr=LEARNING_RATE,
        betas=ADAM_BETAS,
        eps=ADAM_EPSILON,
        weight_decay=0.0,
        fused=True,
    )

    forward = torch.compile(model, dynamic=True) if compiled else model

    def loss_of(batch: Batch) -> Tensor:
        source_BS, target_in_BT, target_BT = (
            ids.to(job.device, non_blocking=True)
            for ids in (batch.source_BS, batch.target_in_BT, batch.target_BT)
        )
        with job.autocast():
            logits_BTV = forward(
                input_ids=source_BS,
                attention_mask=source_BS != PAD,
                decoder_input_ids=target_in_BT,
                use_cache=False,
            ).logits
            return functional.cross_entropy(
                logits_BTV.flatten(0, 1),
                target_BT.flatten(),
                ignore_index=PAD,
                label_smoothing=LABEL_SMOOTHING,
            )

    def update(batches: Sequence[Batch]) -> Tensor:
        pieces = sum(batch.tokens for batch in batches)
        total = torch.zeros((), device=job.device)
        for batch in batches:
            loss = loss_of(batch)
            if len(batches) > 1:  # the mean over the update's pieces
                loss = loss * (batch.tokens / pieces)
            loss.backward()
            total += loss.detach()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return total

    return model, update


def _config(model: dict[str, Any], attention: str) -> MarianConfig:
    encoder, decoder = model["encoder"], model["decoder"]
    return MarianConfig(
        vocab_size=model["source_vocabulary"],
        decoder_vocab_size=model["target_vocabulary"],
        d_model=encoder["d_model"],
        encoder_layers=encoder["layers"],
        encoder_attention_heads=encoder["heads"],
        encoder_ffn_dim=encoder["feed_forward"],
        decoder_layers=decoder["layers"],
        decoder_attention_heads=decoder["heads"],
        decoder_ffn_dim=decoder["feed_forward"],
        activation_function=model["activation"],
        scale_embedding=True,
        share_encoder_decoder_embeddings=model["tied_embeddings"] == "all",
        tie_word_embeddings=model["tied_embeddings"] != "none",
        dropout=DROPOUT,
        pad_token_id=PAD,
        decoder_start_token_id=BOS,
        eos_token_id=EOS,
        forced_eos_token_id=EOS,
        attn_implementation=attention,
    )


if __name__ == "__main__":
    serve(build)
