"""Subsets and classes."""

from collections.abc import Callable
from itertools import product

import pytest
import torch

from wd.config import GroupingConfig, ModelConfig, StackOverride, StackShape, StudentShape
from wd.errors import ConfigError
from wd.generator.grouping import subset_sizes, weight_classes
from wd.generator.layer_copy import copied_weights
from wd.model.sizes import tensor_shapes
from wd.model.transformer import Transformer

Config = Callable[..., ModelConfig]
SMALL = StudentShape(decoder=StackOverride(layers=2))


def test_subsets_cover_every_layer_once(teacher_config: Config) -> None:
    for many, few in product(range(1, 13), repeat=2):
        stacks = [StackShape(layers=layers, d_model=8, heads=2) for layers in (many, few)]
        teacher, student = (teacher_config(decoder=stack) for stack in stacks)
        if few > many:
            with pytest.raises(ConfigError, match=f"student of {few} layers"):
                subset_sizes("decoder", teacher, student, None)
            continue
        sizes = subset_sizes("decoder", teacher, student, None)
        assert (len(sizes), sum(sizes)) == (few, many)
        assert max(sizes) - min(sizes) <= 1


def test_given_subsets_are_kept_or_refused(teacher_config: Config) -> None:
    teacher = teacher_config()
    student = SMALL.of(teacher)
    classes = weight_classes(teacher, student, GroupingConfig(decoder_subsets=(1, 5)))
    assert {each.subsets for each in classes if each.name.startswith("decoder.self")} == {(1, 5)}
    with pytest.raises(ConfigError, match=r"decoder_subsets: \[1, 4\] are 2 subsets of 5"):
        weight_classes(teacher, student, GroupingConfig(decoder_subsets=(1, 4)))


@pytest.mark.parametrize("ties", ["none", "decoder", "all"])
def test_classes_hold_every_student_weight_once(teacher_config: Config, ties: str) -> None:
    teacher = teacher_config(tied_embeddings=ties)
    student = SMALL.of(teacher)
    classes = weight_classes(teacher, student, GroupingConfig())
    assert sorted(name for each in classes for name in each.student) == sorted(
        tensor_shapes(student)
    )


def test_an_axis_has_one_width_wherever_it_occurs(teacher_config: Config) -> None:
    teacher = teacher_config(
        encoder=StackShape(layers=2, d_model=12, heads=2, feed_forward=10),
        decoder=StackShape(layers=2, d_model=8, heads=2, feed_forward=14),
    )
    widths: dict[str, set[int]] = {}
    for each in weight_classes(teacher, teacher, GroupingConfig()):
        for axis, width in zip(each.axes, each.teacher_shape, strict=True):
            widths.setdefault(axis, set()).add(width)
    assert all(len(found) == 1 for found in widths.values())
    assert widths["encoder.model"] == {12}
    assert widths["decoder.cross_attention.queries"] == {8}
    assert widths["decoder.inner"] == {14}


def test_layer_copy_takes_the_first_layer_of_each_subset(teacher_config: Config) -> None:
    teacher = teacher_config()
    student = SMALL.of(teacher)
    weights, start = Transformer(teacher).state_dict(), Transformer(student).state_dict()
    copied = copied_weights(teacher, student, weights, start, GroupingConfig())
    role = "self_attention.query.weight"
    torch.testing.assert_close(
        copied[f"decoder.layers.1.{role}"], weights[f"decoder.layers.3.{role}"]
    )


def test_one_table_for_all_means_one_residual_axis(teacher_config: Config) -> None:
    teacher = teacher_config(tied_embeddings="all")
    classes = weight_classes(teacher, teacher, GroupingConfig())
    axes = {axis for each in classes for axis in each.axes}
    assert "model" in axes
    assert not any(axis.endswith(".model") for axis in axes)
