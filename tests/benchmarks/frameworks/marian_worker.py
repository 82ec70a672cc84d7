"""Train Hugging Face's MarianMTModel in a plain loop."""

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


def build(job: Job) -> tuple[nn.Module, Step]:
    """See `protocol.Build`."""
    model = MarianMTModel(_config(job.model, ATTENTION[job.device])).to(job.device).train()
    optimizer = torch.optim.AdamW(
        [each for each in model.parameters() if each.requires_grad],
        lr=LEARNING_RATE,
        betas=ADAM_BETAS,
        eps=ADAM_EPSILON,
        weight_decay=0.0,
        fused=True,
    )

    def step(batch: Batch) -> Tensor:
        source_BS, target_in_BT, target_BT = (
            ids.to(job.device, non_blocking=True)
            for ids in (batch.source_BS, batch.target_in_BT, batch.target_BT)
        )
        with job.autocast():
            logits_BTV = model(
                input_ids=source_BS,
                attention_mask=source_BS != PAD,
                decoder_input_ids=target_in_BT,
                use_cache=False,
            ).logits
            loss = functional.cross_entropy(
                logits_BTV.flatten(0, 1),
                target_BT.flatten(),
                ignore_index=PAD,
                label_smoothing=LABEL_SMOOTHING,
            )
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return model, step


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
