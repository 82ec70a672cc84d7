"""The converted model is the torch model, whatever its shape."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import get_args

import ctranslate2
import pytest
import torch

from wd.config import SPECIAL_PIECES, Quantization, StackShape
from wd.data.schema import BOS, EOS, PAD
from wd.decoding.convert import write_ctranslate2
from wd.decoding.greedy import greedy
from wd.errors import ArtifactError
from wd.model.transformer import Transformer

NARROW = StackShape(layers=1, d_model=24, heads=2, feed_forward=40)
LENGTH = 16
CLEAR = 1e-3
"""Margin in the logits by which every greedy choice must win, to be the same in both engines."""


def _sources(vocabulary: int) -> torch.Tensor:
    """Eight sentences of 1 to 8 pieces and an end marker, padded."""
    rows = torch.randint(4, vocabulary, (8, 9), generator=torch.Generator().manual_seed(5))
    for index, row in enumerate(rows):
        row[index + 1] = EOS
        row[index + 2 :] = PAD
    return rows


def _logits(model: Transformer, source: torch.Tensor, ids: list[int]) -> torch.Tensor:
    """Return the logits [T, V] that led to `ids`; the first piece is never EOS."""
    with torch.no_grad():
        logits = model(source[None], torch.tensor([[BOS, *ids[:-1]]]))[0]
    logits[0, EOS] = -torch.inf
    return logits


def _margin(model: Transformer, source: torch.Tensor, ids: list[list[int]]) -> float:
    best = torch.cat(
        [
            _logits(model, row, target).topk(2).values
            for row, target in zip(source, ids, strict=True)
        ]
    )
    return float((best[:, 0] - best[:, 1]).min())


def _pieces(model: Transformer) -> list[str]:
    return [*SPECIAL_PIECES, *(f"p{i}" for i in range(4, model.config.source_vocabulary))]


def _decoded(
    model: Transformer, source: torch.Tensor, folder: Path, **settings: float
) -> list[ctranslate2.TranslationResult]:
    pieces = _pieces(model)
    write_ctranslate2(
        folder, model.config, model.state_dict(), source_pieces=pieces, target_pieces=pieces
    )
    engine = ctranslate2.Translator(str(folder), compute_type="float32", intra_threads=1)
    return engine.translate_batch(
        [[pieces[piece] for piece in row if piece != PAD] for row in source.tolist()],
        max_decoding_length=LENGTH,
        return_scores=True,
        return_end_token=True,
        **settings,
    )


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize(
    ("activation", "biases"),
    [("relu", True), ("gelu", True), ("silu", True), ("relu", False)],
)
@pytest.mark.parametrize(
    ("tied", "narrow"),
    [("none", False), ("none", True), ("decoder", False), ("decoder", True), ("all", False)],
)
def test_greedy_pieces_and_scores_are_torch_s(
    norm: str,
    activation: str,
    biases: bool,
    tied: str,
    narrow: bool,
    random_model: Callable[..., Transformer],
    tmp_path: Path,
) -> None:
    changes = {"norm": norm, "activation": activation, "tied_embeddings": tied, "biases": biases}
    if narrow:
        changes |= {"decoder": NARROW}
    _check_greedy(random_model, tmp_path, changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"output_bias": True},
        {"output_bias": True, "tied_embeddings": "all", "scale_embeddings": False},
        {"positions": "paper", "decoder": NARROW},
        {"first_position": 2},
    ],
    ids=lambda changes: ", ".join(changes),
)
def test_so_they_are_of_shapes_of_other_projects(
    changes: dict[str, object], random_model: Callable[..., Transformer], tmp_path: Path
) -> None:
    _check_greedy(random_model, tmp_path, changes)


def _check_greedy(
    random_model: Callable[..., Transformer], tmp_path: Path, changes: dict[str, object]
) -> None:
    for seed in count():
        model = random_model(seed, **changes)
        source = _sources(model.config.source_vocabulary)
        ids, log_probabilities = greedy(model, source, LENGTH)
        if _margin(model, source, ids) > CLEAR:
            break
    found = _decoded(model, source, tmp_path, beam_size=1, length_penalty=0)
    assert [result.hypotheses[0] for result in found] == [
        [_pieces(model)[piece] for piece in row] for row in ids
    ]
    scores = [result.scores[0] for result in found]
    assert scores == pytest.approx(log_probabilities.tolist(), abs=1e-3)


def test_a_beam_s_score_is_the_log_probability_over_length_to_the_penalty(
    random_model: Callable[..., Transformer], tmp_path: Path
) -> None:
    model = random_model()
    source, pieces = _sources(model.config.source_vocabulary), _pieces(model)
    found = _decoded(model, source, tmp_path, beam_size=3, length_penalty=0.6)
    for row, result in zip(source, found, strict=True):
        ids = [pieces.index(piece) for piece in result.hypotheses[0]]
        logits = _logits(model, row, ids).log_softmax(-1)
        score = float(logits.gather(1, torch.tensor(ids)[:, None]).sum())
        assert result.scores[0] == pytest.approx(score / len(ids) ** 0.6, abs=1e-3)


def test_a_foreign_tokenizer_is_refused(
    random_model: Callable[..., Transformer], tmp_path: Path
) -> None:
    model = random_model()
    with pytest.raises(ArtifactError, match="60 target pieces, its tokenizer 59"):
        write_ctranslate2(
            tmp_path,
            model.config,
            model.state_dict(),
            source_pieces=["x"] * 60,
            target_pieces=["x"] * 59,
        )


@pytest.mark.parametrize("tied", ["none", "decoder", "all"])
@pytest.mark.parametrize("quantization", get_args(Quantization))
def test_the_model_in_memory_stays_as_it_is(
    random_model: Callable[..., Transformer], tmp_path: Path, tied: str, quantization: Quantization
) -> None:
    """CTranslate2 quantizes in place: what it is given must not be what is trained on."""
    model = random_model(tied_embeddings=tied)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    pieces = _pieces(model)
    write_ctranslate2(
        tmp_path,
        model.config,
        model.state_dict(),
        source_pieces=pieces,
        target_pieces=pieces,
        quantization=quantization,
    )
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
