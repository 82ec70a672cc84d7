"""Validation: loss over the held-out batches, BLEU over the first held-out sentences."""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import torch
import torch.distributed
from torch import Tensor

from wd.config import DecodingConfig, ModelConfig
from wd.data.batches import ShardReader
from wd.data.parts import read_part
from wd.data.schema import part_files
from wd.data.tokenizer import Tokenizer
from wd.decoding.engine import Translator
from wd.errors import UserError
from wd.evaluation.quality import Quality, score
from wd.model.transformer import Transformer
from wd.places import Place
from wd.training.loss import cross_entropy
from wd.training.memory import empty_gpu_cache
from wd.training.world import World, autocast


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Says where the validation set is, as batches and as text."""

    shards: Place
    """Folder of the parts that hold batches."""
    corpus: Place
    """Folder of the parts that hold sentence pairs."""
    tokenizer: Place
    """Folder of the two SentencePiece models."""
    language: str
    """The language of the targets, by which BLEU's tokenizer is chosen."""


def validate(
    model: ModelConfig,
    weights: Mapping[str, Tensor],
    held_out: HeldOut,
    bleu_sentences: int,
    world: World,
) -> dict[str, float]:
    """Return loss (nats per target piece, not smoothed), perplexity, and BLEU and chrF if asked.

    All workers call this, since they share the batches; only rank 0 translates, the others get {}.
    On a GPU the loss is computed in the precision of training (`auto`), on a CPU in float32.
    """
    loss = _loss(model, weights, held_out, world)
    if world.rank:
        return {}
    figures = {"loss": loss, "perplexity": math.exp(min(loss, 50.0))}
    if bleu_sentences:
        quality = _quality(model, weights, held_out, bleu_sentences, world.device)
        figures |= {"bleu": quality.bleu, "chrf": quality.chrf}
    return figures


@torch.inference_mode()
def _loss(
    config: ModelConfig, weights: Mapping[str, Tensor], held_out: HeldOut, world: World
) -> float:
    device = world.device
    model = Transformer(config).to(device).eval()
    model.load_state_dict(weights)
    reader = ShardReader([held_out.shards])
    total = torch.zeros((), device=device)
    with autocast("auto" if device.type == "cuda" else "float32", device):
        for index in range(world.rank, len(reader), world.size):
            batch = reader[index].to(device)
            logits_BTV = model(batch.source_BS, batch.target_in_BT)
            total += cross_entropy(logits_BTV, batch.target_BT, 0.0)
    if world.size > 1:
        torch.distributed.all_reduce(total)
    return total.item() / int(reader.tokens.sum())


def _quality(
    config: ModelConfig,
    weights: Mapping[str, Tensor],
    held_out: HeldOut,
    sentences: int,
    device: torch.device,
) -> Quality:
    parts = part_files(held_out.corpus)
    table = pa.concat_tables(read_part(part, ["source", "target"]) for part in parts)[:sentences]
    tokenizer = Tokenizer.load(Path(held_out.tokenizer))

    def translated(where: str) -> list[str]:
        translator = Translator.from_weights(
            config,
            weights,
            tokenizer,
            quantization="float32",
            device=where,
            threads=torch.get_num_threads(),
        )
        found = translator.translate(table["source"].to_pylist(), DecodingConfig(beam_size=1))
        return [hypothesis.text for hypothesis in found]

    texts = _somewhere(translated, device)
    return score(texts, table["target"].to_pylist(), held_out.language)


def _somewhere(translated: Callable[[str], list[str]], device: torch.device) -> list[str]:
    """Translate on the training's GPU if CTranslate2 can, else on the CPU, with a warning.

    No training ends because its GPU is full, or lacks a library, when it validates.
    """
    if device.type == "cpu":
        return translated("cpu")
    empty_gpu_cache()
    try:
        return translated("auto")
    except (RuntimeError, UserError) as error:  # a user's mistake will be one on the CPU, too
        why = str(error).splitlines()[0]
        warnings.warn(f"validation translates on the CPU: on the GPU {why}", stacklevel=2)
        return translated("cpu")
