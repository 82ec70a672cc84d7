"""Train with JoeyNMT: its model, loss, optimiser and the training step of its `TrainManager`."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from joeynmt.batch import Batch as JoeyBatch
from joeynmt.config import parse_train_args
from joeynmt.model import build_model
from joeynmt.training import TrainManager
from joeynmt.vocabulary import Vocabulary
from protocol import (
    ADAM_BETAS,
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

JOEY_UNK, JOEY_PAD = 0, 1
"""JoeyNMT has these two the other way round, and no choice; no batch holds an UNK."""


def build(job: Job) -> tuple[nn.Module, Step]:
    """See `protocol.Build`."""
    device = torch.device(job.device)
    manager = _manager(job, device)
    entropy = _smoothed_entropy(job.model["target_vocabulary"])

    def step(batch: Batch) -> float:
        loss, _ = manager._train_step(_batch(batch, device))
        manager.optimizer.step()
        manager.model.zero_grad()
        return float(loss) + entropy

    return manager.model, step


def _manager(job: Job, device: torch.device) -> TrainManager:
    source, target = job.model["source_vocabulary"], job.model["target_vocabulary"]
    vocabularies = {size: _vocabulary(size) for size in {source, target}}
    model = build_model(_model(job.model), vocabularies[source], vocabularies[target])
    model.loss_function = ("crossentropy", LABEL_SMOOTHING)
    training = {
        "optimizer": "adamw",
        "adam_betas": ADAM_BETAS,
        "learning_rate": LEARNING_RATE,
        "scheduling": "exponential",  # a step an epoch, so none here
        "normalization": "tokens",
        "label_smoothing": LABEL_SMOOTHING,
        "batch_size": 1,
    }
    cuda = device.type == "cuda"
    manager = TrainManager(
        rank=0,
        model=model.to(device),
        model_dir=Path(job.batches).parent,  # for logs; removed at the end
        device=device,
        n_gpu=int(cuda),
        autocast={"device_type": device.type, "enabled": cuda, "dtype": torch.bfloat16},
        train_args=parse_train_args(training),
    )
    manager.scaler = None  # bfloat16 has float32's range
    return manager


def _batch(batch: Batch, device: torch.device) -> JoeyBatch:
    """Return a batch as JoeyNMT's data loader makes it."""
    return JoeyBatch(
        src=_renamed(batch.source_BS),
        src_length=(batch.source_BS != PAD).sum(1),
        src_prompt_mask=None,
        trg=functional.pad(_renamed(batch.target_BT), (1, 0), value=BOS),
        trg_prompt_mask=None,
        indices=torch.arange(len(batch.source_BS)),
        device=device,
        pad_index=JOEY_PAD,
        eos_index=EOS,
    )


def _renamed(ids: Tensor) -> Tensor:
    return ids.masked_fill(ids == PAD, JOEY_PAD)


def _vocabulary(size: int) -> Vocabulary:
    specials = SimpleNamespace(
        unk_token="<unk>",
        unk_id=JOEY_UNK,
        pad_token="<pad>",
        pad_id=JOEY_PAD,
        bos_token="<s>",
        bos_id=BOS,
        eos_token="</s>",
        eos_id=EOS,
        sep_token=None,
        lang_tags=[],
    )
    return Vocabulary([str(piece) for piece in range(4, size)], specials)


def _model(model: dict[str, Any]) -> dict[str, Any]:
    stacks: dict[str, Any] = {
        name: {
            "type": "transformer",
            "num_layers": model[name]["layers"],
            "num_heads": model[name]["heads"],
            "hidden_size": model[name]["d_model"],
            "ff_size": model[name]["feed_forward"],
            "embeddings": {"embedding_dim": model[name]["d_model"], "scale": True},
            "dropout": DROPOUT,
            "layer_norm": model["norm"],
            "activation": model["activation"],
        }
        for name in ("encoder", "decoder")
    }
    return stacks | {
        "tied_embeddings": model["tied_embeddings"] == "all",
        "tied_softmax": model["tied_embeddings"] != "none",
    }


def _smoothed_entropy(vocabulary: int) -> float:
    """Return what JoeyNMT's loss, a Kullback-Leibler divergence, lacks to a cross-entropy."""
    others = LABEL_SMOOTHING / (vocabulary - 2)
    kept = 1 - LABEL_SMOOTHING
    return -kept * math.log(kept) - LABEL_SMOOTHING * math.log(others)


if __name__ == "__main__":
    serve(build)
