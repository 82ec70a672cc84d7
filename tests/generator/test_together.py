"""Classes made side by side, as on a GPU, are those made one by one, and so are their gradients."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import Tensor

from wd.generator.generator import ParameterGenerator
from wd.model.paths import gpu_paths

Build = Callable[..., ParameterGenerator]


def made(
    generator: ParameterGenerator, paths: AbstractContextManager[None], rounded: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the student, and the gradient of something that depends on each of its weights."""
    generator.zero_grad()
    with paths, torch.autocast("cpu", torch.bfloat16, enabled=rounded):
        student = generator()
    torch.manual_seed(5)
    sum((each * torch.randn_like(each)).sum() for _, each in sorted(student.items())).backward()
    gradients = {
        name: each.grad.clone()
        for name, each in generator.named_parameters()
        if each.grad is not None
    }
    return {name: each.detach() for name, each in student.items()}, gradients


@pytest.mark.parametrize("sharing", ["class", "subset", "stack"])
@pytest.mark.parametrize("name", ["tiny", "small", "uneven", "both", "thin"])
@pytest.mark.parametrize(("gate", "learned_gates"), [("exact", "vectors"), ("shift", "all")])
def test_equals_one_by_one(
    build: Build, name: str, sharing: str, gate: str, learned_gates: str
) -> None:
    grouping = {"sharing": sharing, "learned_gates": learned_gates, "layer_map": "factored"}
    generator = build(name, grouping, maps="xavier", gate=gate)
    one_by_one, together = (made(generator, path, False) for path in (nullcontext(), gpu_paths()))
    torch.testing.assert_close(together, one_by_one, rtol=1e-4, atol=1e-5)
    assert together[1]


def test_equals_one_by_one_in_bfloat16(build: Build) -> None:
    generator = build("small", maps="xavier")
    one_by_one, together = (made(generator, path, True) for path in (nullcontext(), gpu_paths()))
    torch.testing.assert_close(together[0], one_by_one[0], rtol=1e-2, atol=5e-3)
    for name, gradient in one_by_one[1].items():
        error = (together[1][name] - gradient).norm() / gradient.norm()
        assert error < 0.03, name


@pytest.mark.parametrize("name", ["tiny", "small"])
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize(
    ("biases", "grouping"), [(True, {"biases": "fresh"}), (True, {"biases": "copied"}), (False, {})]
)
def test_vectors_that_are_all_alike(
    build: Build, name: str, norm: str, biases: bool, grouping: dict[str, str]
) -> None:
    if (name, grouping) == ("tiny", {"biases": "copied"}):
        grouping = {"biases": "fresh", "norms": "fresh"}  # no vector of another width is copied
    generator = build(name, grouping, teacher={"norm": norm, "biases": biases})
    one_by_one, together = (made(generator, path, False) for path in (nullcontext(), gpu_paths()))
    torch.testing.assert_close(together, one_by_one, rtol=1e-4, atol=1e-5)


def test_forms_that_only_some_classes_have(build: Build) -> None:
    grouping = {"norms": "fresh", "output_projection": "linear", "width_maps": "changed_axes"}
    generator = build("both", grouping, layers="mean")
    one_by_one, together = (made(generator, path, False) for path in (nullcontext(), gpu_paths()))
    torch.testing.assert_close(together, one_by_one, rtol=1e-4, atol=1e-5)
