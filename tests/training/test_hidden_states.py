"""Distances between layers, against the sum written out, and which layers they are between."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from wd.config import GroupingConfig, StackShape
from wd.model.transformer import Transformer
from wd.training.hidden_states import counterparts, recorded, state_distance

DEEP = StackShape(layers=3, d_model=32, heads=4, feed_forward=64)
LENGTHS = (5, 3, 1)


def naive(ours: Tensor, theirs: Tensor) -> float:
    """Compare the states of one sentence, [positions, width]."""
    pairs = list(zip(ours, theirs, strict=True))
    if ours.shape == theirs.shape:
        errors = [((a - b).square().sum() / b.square().sum()).item() for a, b in pairs]
        return sum(errors) / len(errors)
    differences = [
        (torch.cosine_similarity(a, c, 0) - torch.cosine_similarity(b, d, 0)).square().item()
        for a, b in pairs
        for c, d in pairs
    ]
    return sum(differences) / len(differences)


@pytest.mark.parametrize("width", [8, 4])
def test_the_distance_is_the_naive_one(width: int) -> None:
    student = [torch.randn(3, 5, width) for _ in range(2)]
    teacher = [torch.randn(3, 5, 8) for _ in range(2)]
    inside_BP = torch.arange(5) < torch.tensor(LENGTHS)[:, None]
    found = state_distance(student, teacher, inside_BP)
    for row, length in enumerate(LENGTHS):
        layers = zip(student, teacher, strict=True)
        expected = [naive(ours[row, :length], theirs[row, :length]) for ours, theirs in layers]
        assert found[row].item() == pytest.approx(sum(expected) / 2, rel=1e-4, abs=1e-6)


def test_rotation_and_size_are_no_dissimilarity() -> None:
    """States of another width may lie along other axes: there is no projection to learn."""
    narrow = torch.randn(3, 5, 4)
    axes = torch.linalg.qr(torch.randn(8, 4)).Q
    inside_BP = torch.ones(3, 5, dtype=torch.bool)
    assert state_distance([narrow], [3 * narrow @ axes.T], inside_BP).max() < 1e-6
    assert state_distance([narrow], [torch.randn(3, 5, 8)], inside_BP).min() > 1e-3


@pytest.mark.parametrize(("subsets", "last"), [(None, (1, 2)), ((1, 2), (0, 2))])
def test_a_layer_is_compared_with_the_last_of_its_subset(
    random_model: Callable[..., Transformer],
    subsets: tuple[int, ...] | None,
    last: tuple[int, ...],
) -> None:
    teacher, student = random_model(encoder=DEEP).config, random_model().config
    grouping = GroupingConfig(encoder_subsets=subsets)
    assert counterparts(teacher, student, grouping) == {"encoder": last, "decoder": (0, 1)}


def test_a_recording_ends(random_model: Callable[..., Transformer]) -> None:
    model, pieces = random_model(), torch.tensor([[4, 5, 6]])
    with recorded(model) as states:
        model(pieces, pieces)
    model(pieces, pieces)
    assert {stack: len(found) for stack, found in states.items()} == {"encoder": 2, "decoder": 2}
    torch.testing.assert_close(states["encoder"][-1], model.encode(pieces))
