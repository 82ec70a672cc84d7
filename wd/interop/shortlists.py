"""Vocabulary shortlists: the target pieces that each source piece is likely to become.

CTranslate2 reads them beside a model and, where it is told to use them, multiplies the output
layer with the pieces alone that a batch's sources allow: most of what a small student computes.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from wd.data.tokenizer import Tokenizer

FILE = "vmap.txt"
"""Where CTranslate2 looks for them, in a model's folder."""
BEST, COMMON = 100, 200
"""Of so many target pieces one chooses for each source piece, besides the most frequent ones."""
MOST_PAIRS = 1_000_000
"""As many are counted; more change little."""
_CHUNK = 100_000

Pairs = Iterable[tuple[str, str]]
Shortlists = Mapping[str, Sequence[str]]
"""By source piece; those of the empty one are always there."""


def counted_shortlists(
    tokenizer: Tokenizer, pairs: Pairs, *, best: int = BEST, common: int = COMMON
) -> Shortlists:
    """Return the `best` target pieces for each source piece, and the `common` ones.

    The best ones for a piece are those with the highest Dice coefficients, 2 n(s, t) / (n(s) +
    n(t)), where n counts the pairs that hold it; best to count on a teacher's translations, which
    are more alike than people's. Special pieces have none and need none.
    """
    together, alone = _counted(tokenizer, pairs)
    sources, targets = tokenizer.source_pieces, tokenizer.target_pieces
    found: dict[str, list[tuple[float, str]]] = {}
    source, target = together.indices()
    dice = 2 * together.values() / (alone[0][source] + alone[1][target])
    for row, column, value in zip(source.tolist(), target.tolist(), dice.tolist(), strict=True):
        found.setdefault(sources[row], []).append((value, targets[column]))
    frequent = alone[1].topk(min(common, int(alone[1].count_nonzero()))).indices.tolist()
    lists = {"": [targets[piece] for piece in frequent]}
    for piece, several in found.items():
        lists[piece] = [one for _, one in sorted(several, reverse=True)[:best]]
    return lists


def write_shortlists(folder: Path, lists: Shortlists) -> None:
    """Put them into a CTranslate2 folder."""
    rows = (f"{piece}\t{' '.join(several)}\n" for piece, several in lists.items())
    (folder / FILE).write_text("".join(rows), encoding="utf-8")


def _counted(tokenizer: Tokenizer, pairs: Pairs) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return in how many pairs two pieces are together (sparse), and each one is at all."""
    size = tokenizer.source_vocabulary, tokenizer.target_vocabulary
    alone = torch.zeros(size[0]), torch.zeros(size[1])
    with warnings.catch_warnings():  # torch says once that its sparse tensors are young
        warnings.simplefilter("ignore", UserWarning)
        none = torch.empty(2, 0, dtype=torch.long), torch.empty(0)
        together = torch.sparse_coo_tensor(*none, size)
        for chunk in _chunks(pairs):
            source = _held(tokenizer.encode_source([each for each, _ in chunk]), size[0])
            target = _held(tokenizer.encode_target([each for _, each in chunk]), size[1])
            together = together + torch.sparse.mm(source.t(), target)
            for count, held in zip(alone, (source, target), strict=True):
                count += held.sum(0).to_dense()
    return together.coalesce(), alone


def _held(lines: Sequence[Sequence[int]], size: int) -> Tensor:
    """Return ones where a line, by row, holds a piece, by column: [lines, size], sparse."""
    pieces = [sorted(set(line)) for line in lines]
    rows = torch.arange(len(pieces)).repeat_interleave(torch.tensor([len(p) for p in pieces]))
    columns = torch.tensor([piece for line in pieces for piece in line])
    shape = len(pieces), size
    return torch.sparse_coo_tensor(torch.stack([rows, columns]), torch.ones(len(rows)), shape)


def _chunks(pairs: Pairs) -> Iterator[list[tuple[str, str]]]:
    counted = islice(pairs, MOST_PAIRS)
    while chunk := list(islice(counted, _CHUNK)):
        yield chunk
