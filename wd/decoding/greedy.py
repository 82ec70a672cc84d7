"""Greedy decoding in plain torch: slow, simple, and the reference for the engine."""

import torch
from torch import Tensor

from wd.data.schema import BOS, EOS, PAD
from wd.model.transformer import Transformer


@torch.inference_mode()
def greedy(
    model: Transformer, source_BS: Tensor, max_length: int
) -> tuple[list[list[int]], Tensor]:
    """Take the most probable piece at every step; the first is never EOS.

    `source_BS` holds int64 ids, each row ends in EOS and is filled up with PAD. Returns each
    row's ids, EOS included unless `max_length` pieces came first, and their summed
    log-probabilities [B].
    """
    model.eval()
    memory_BSE = model.encode(source_BS)
    rows = source_BS.shape[0]
    target_BT = torch.full((rows, 1), BOS, device=source_BS.device)
    score_B = torch.zeros(rows, device=source_BS.device)
    done_B = torch.zeros(rows, dtype=torch.bool, device=source_BS.device)
    for step in range(max_length):
        logits_BV = model.decode(target_BT, memory_BSE, source_BS)[:, -1].float()
        if step == 0:
            logits_BV[:, EOS] = -torch.inf
        best_B, piece_B = logits_BV.log_softmax(-1).max(-1)
        score_B += best_B.masked_fill(done_B, 0.0)
        target_BT = torch.cat([target_BT, piece_B.masked_fill(done_B, PAD)[:, None]], 1)
        done_B = done_B | (piece_B == EOS)
        if bool(done_B.all()):
            break
    return [_until_end(row) for row in target_BT[:, 1:].tolist()], score_B


def _until_end(ids: list[int]) -> list[int]:
    return ids[: ids.index(EOS) + 1] if EOS in ids else ids
