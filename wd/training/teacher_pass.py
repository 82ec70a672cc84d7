"""The teacher's word distributions over batches, computed once: parts in, parts out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wd.data.batches import batches_of
from wd.data.distributions import schema, write_words
from wd.data.schema import PAD
from wd.errors import memory_explained
from wd.model.directory import load_transformer
from wd.places import Place
from wd.training.determinism import fix_order
from wd.training.world import autocast


class PartDistributions:
    """A loaded teacher that turns a part of batches into one of its most probable words."""

    def __init__(self, model: Place, top_k: int, precision: str, device: str) -> None:
        """Load it; `device` is cpu, cuda or auto."""
        on_gpu = device != "cpu" and torch.cuda.is_available()
        self._device = torch.device("cuda" if on_gpu else "cpu")
        fix_order(self._device)  # a deterministic training may follow in this process
        self._teacher = load_transformer(Path(model)).to(self._device)
        vocabulary = self._teacher.config.target_vocabulary
        self._top_k = min(top_k, vocabulary)
        self._columns = schema(vocabulary, precision)

    def __call__(self, part_in: Path, part_out: Path) -> dict[str, Any]:
        """Write each batch's words; return how many pieces and bytes, and the pieces' coverage.

        That is the probability that the words of a piece have together, summed over the pieces.
        """
        told = {"pieces": 0, "covered": 0.0}

        def made() -> Iterator[tuple[Tensor, Tensor]]:
            for batch in batches_of(part_in):
                with memory_explained(self._explanation):
                    logs_NK, pieces_NK = self._most_probable(batch.to(self._device))
                told["pieces"] += len(logs_NK)
                told["covered"] += logs_NK.double().exp().sum().item()
                yield pieces_NK.cpu(), logs_NK.cpu()

        return {"bytes": write_words(part_out, made(), self._columns)} | told

    def _explanation(self, lack: str) -> str:
        return (
            f"out of memory on {self._device}, to compute the teacher's word distributions: "
            f"{lack}\n  lower shards.batch_tokens"
        )

    @torch.inference_mode()
    def _most_probable(self, batch: Any) -> tuple[Tensor, Tensor]:
        # As a validation computes: on a CPU nothing is rounded.
        precision = "auto" if self._device.type == "cuda" else "float32"
        with autocast(precision, self._device):
            logits_BTV = self._teacher(batch.source_BS, batch.target_in_BT)
        logits_NV = logits_BTV[batch.target_BT != PAD]
        found = logits_NV.float().log_softmax(-1).topk(self._top_k)
        return found.values, found.indices
