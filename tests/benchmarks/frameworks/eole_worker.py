"""Train with eole: its model, loss, optimiser and the training step of its `Trainer`."""

from typing import Any

import torch
from eole.config.run import TrainConfig
from eole.inputters.inputter import dict_to_vocabs
from eole.models.model import get_model_class
from eole.trainer import build_trainer
from eole.utils import Statistics
from eole.utils.misc import configure_cuda_backends
from eole.utils.optimizers import Optimizer
from protocol import (
    ADAM_BETAS,
    ADAM_EPSILON,
    BOS,
    DROPOUT,
    LABEL_SMOOTHING,
    LEARNING_RATE,
    PAD,
    Batch,
    Job,
    Step,
    serve,
)
from torch import nn
from torch.nn import functional

SPECIALS = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
"""In the order of their ids."""


def build(job: Job) -> tuple[nn.Module, Step]:
    """See `protocol.Build`."""
    configure_cuda_backends()
    torch.set_autocast_dtype("cuda", torch.bfloat16)  # eole asks for 16 bits, not for which
    config, vocabularies = _config(job), _vocabularies(job.model)
    device_id = 0 if job.device == "cuda" else -1
    model = get_model_class(config.model).for_training(
        config.model, vocabularies, config.training, device_id=device_id
    )
    optimizer = Optimizer.from_config(model, config)
    optimizer._scaler = None  # bfloat16 has float32's range
    trainer = build_trainer(config, device_id, model, vocabularies, optimizer)
    total = Statistics()

    def step(batch: Batch) -> float:
        told = Statistics()
        trainer._train_step([_batch(batch, job.device)], batch.tokens, total, told)
        return told.loss / told.n_tokens

    return model, step


def _batch(batch: Batch, device: str) -> dict[str, Any]:
    """Return a batch as eole's iterator makes it; the model drops the target's last column."""
    target_BT = functional.pad(batch.target_BT, (1, 0), value=BOS)
    sentences = len(target_BT)
    return {
        "src": batch.source_BS.to(device, non_blocking=True),
        "srclen": (batch.source_BS != PAD).sum(1).to(device, non_blocking=True),
        "tgt": target_BT.to(device, non_blocking=True),
        "images": None,
        "prefix_len": None,
        "cid": ["train"] * sentences,
        "cid_line_number": list(range(sentences)),
    }


def _vocabularies(model: dict[str, Any]) -> dict[str, Any]:
    sides = {
        side: [*SPECIALS.values(), *map(str, range(len(SPECIALS), model[f"{name}_vocabulary"]))]
        for side, name in (("src", "source"), ("tgt", "target"))
    }
    return dict_to_vocabs(sides | {"specials": SPECIALS, "decoder_start_token": "<s>"})


def _config(job: Job) -> TrainConfig:
    cuda = job.device == "cuda"
    training = {
        "world_size": int(cuda),
        "gpu_ranks": [0] if cuda else [],
        "compute_dtype": "bf16" if cuda else "fp32",
        "optim": "adamw",
        "adam_beta1": ADAM_BETAS[0],
        "adam_beta2": ADAM_BETAS[1],
        "adam_eps": ADAM_EPSILON,
        "learning_rate": LEARNING_RATE,
        "max_grad_norm": 0,
        "label_smoothing": LABEL_SMOOTHING,
        "dropout": [DROPOUT],
        "attention_dropout": [0.0],
        "param_init": 0.0,
        "param_init_method": "xavier_uniform",
        "normalization": "tokens",
        "log_attention_entropy": False,
    }
    return TrainConfig(
        src_vocab="unused", tgt_vocab="unused", data={}, model=_model(job.model), training=training
    )


def _model(model: dict[str, Any]) -> dict[str, Any]:
    stacks = {
        name: {
            "layers": model[name]["layers"],
            "heads": model[name]["heads"],
            "transformer_ff": model[name]["feed_forward"],
        }
        for name in ("encoder", "decoder")
    }
    return stacks | {
        "architecture": "transformer",
        "hidden_size": model["encoder"]["d_model"],
        "mlp_activation_fn": model["activation"],
        "embeddings": {
            "word_vec_size": model["encoder"]["d_model"],
            "position_encoding_type": "SinusoidalConcat",
        },
        "add_qkvbias": True,
        "add_final_linear_bias": True,
        "add_ffnbias": True,
        "generator_bias": False,
        "share_embeddings": model["tied_embeddings"] == "all",
        "share_decoder_embeddings": model["tied_embeddings"] != "none",
    }


if __name__ == "__main__":
    serve(build)
