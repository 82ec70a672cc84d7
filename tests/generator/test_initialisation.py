"""Where the generator starts: from what of its teacher, and with the same bits everywhere."""

from collections.abc import Callable
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import functional_call

from wd.config import GeneratorConfig, ModelConfig, StackOverride, StackShape, StudentShape
from wd.data.schema import PAD
from wd.generator.generator import ParameterGenerator
from wd.generator.initialisation import principal, principal_in_heads, selected
from wd.model.sizes import tensor_shapes
from wd.model.transformer import Transformer

Config = Callable[..., ModelConfig]


def test_one_basis_per_axis_loses_nothing_where_the_teacher_uses_no_more(
    teacher_config: Config,
) -> None:
    """A teacher whose decoder really lives in half its channels becomes the narrow student.

    Post-norm's and pre-norm's means and variances depend on the width, so only the products of
    adjacent weights can be compared: what the attention reads and what the feed-forward computes.
    """
    torch.manual_seed(3)
    teacher = teacher_config(decoder={"layers": 1, "d_model": 16, "heads": 2, "feed_forward": 12})
    weights = {name: value.clone() for name, value in Transformer(teacher).state_dict().items()}
    keep, _ = torch.linalg.qr(torch.randn(16, 8))
    for name, shape in tensor_shapes(teacher).items():
        if name.startswith(("decoder", "target", "output")) and len(shape) == 2:
            reads = shape[1] == 16 and "output.weight" not in name and "cross" not in name
            if reads or name.endswith("cross_attention.query.weight"):
                weights[name] = weights[name] @ keep @ keep.T
            if name.endswith(("attention.output.weight", "outer.weight")):
                weights[name] = keep @ keep.T @ weights[name]
    student = StudentShape(decoder=StackOverride(d_model=8)).of(teacher)
    config = GeneratorConfig.model_validate({"initialisation": {"maps": "axis"}})
    generated = ParameterGenerator(teacher, student, weights, config).materialize()

    def feed_forward(of: dict[str, Tensor]) -> Tensor:
        name = "decoder.layers.0.feed_forward"
        inner = of["target_embedding.weight"] @ of[f"{name}.inner.weight"].T
        return inner.relu() @ of[f"{name}.outer.weight"].T @ of["output_projection.weight"].T

    torch.testing.assert_close(feed_forward(generated), feed_forward(weights), rtol=1e-3, atol=1e-4)


def test_the_principal_basis_is_the_best_projection() -> None:
    torch.manual_seed(4)
    users = [torch.randn(30, 10), torch.randn(20, 10)]
    basis = principal(users, 4)
    torch.testing.assert_close(basis.T @ basis, torch.eye(4), rtol=1e-4, atol=1e-5)

    def kept(projection: Tensor) -> float:
        parts = [(u @ projection).square().sum() / u.square().sum() for u in users]
        return float(sum(parts))

    for _ in range(20):
        other, _ = torch.linalg.qr(torch.randn(10, 4))
        assert kept(basis) > kept(other)


def test_the_principal_basis_is_exact_to_the_last_bit_of_its_users() -> None:
    torch.manual_seed(4)
    users = [torch.randn(300, 40), torch.randn(200, 40)]
    exact = principal([user.double() for user in users], 20)
    assert torch.equal(principal(users, 20), exact.float())


@pytest.mark.parametrize("channels", [1, 2, 7, 40])
def test_a_basis_vectors_greatest_entry_is_positive(channels: int) -> None:
    torch.manual_seed(channels)
    basis = principal([torch.randn(60, channels)], channels)
    assert (basis.gather(0, basis.abs().argmax(0, keepdim=True)) > 0).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_of_several_greatest_entries_the_first_is_positive(sign: int) -> None:
    basis = principal([sign * torch.tensor([[0.0, 1, -1, -1, 1]])], 1)
    torch.testing.assert_close(basis, torch.tensor([[0.0, 0.5, -0.5, -0.5, 0.5]]).T)


@pytest.mark.parametrize(
    ("width", "narrower", "maps"),
    [(96, 64, "axis"), (128, 48, "svd"), (128, 64, "axis"), (512, 256, "axis")],
)
def test_the_start_has_the_same_bits_on_any_number_of_threads(
    width: int, narrower: int, maps: str
) -> None:
    encoder = StackShape(layers=1, d_model=8, heads=2, feed_forward=8)
    decoder = StackShape(layers=2, d_model=width, heads=4, feed_forward=2 * width)
    teacher = ModelConfig(
        encoder=encoder, decoder=decoder, source_vocabulary=9, target_vocabulary=2000
    )
    tiny = StackOverride(layers=1, d_model=narrower, heads=2, feed_forward=2 * narrower)
    student = StudentShape(decoder=tiny).of(teacher)
    torch.manual_seed(5)
    weights = Transformer(teacher).state_dict()
    config = GeneratorConfig.model_validate({"initialisation": {"maps": maps}})
    before, states = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            generator = ParameterGenerator(teacher, student, weights, config)
            states.append({name: one.clone() for name, one in generator.state_dict().items()})
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for name, one in states[0].items():
        assert torch.equal(one, states[1][name]), name


def test_kept_heads_stay_whole() -> None:
    users = [torch.randn(9, 12), torch.randn(5, 12)]
    basis = principal_in_heads(users, [2, 1], 4, 3)
    assert not basis[:4].any()  # the head that is not kept
    assert not basis[4:8, 3:].any()
    assert not basis[8:, :3].any()
    torch.testing.assert_close(basis.T @ basis, torch.eye(6), rtol=1e-4, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    heads=st.sampled_from([(2, 1), (4, 1), (4, 2), (4, 3), (6, 2)]),
    size=st.sampled_from([(2, 1), (3, 2), (4, 4)]),
    sharing=st.sampled_from(["class", "subset", "stack"]),
    layers=st.sampled_from([1, 2]),
)
def test_a_students_head_is_one_head_of_its_teacher(
    seed: int, heads: tuple[int, int], size: tuple[int, int], sharing: str, layers: int
) -> None:
    """It attends with the queries and keys of the head whose values it reads and writes."""
    torch.manual_seed(seed)
    stacks = [
        {"d_model": count * channels, "heads": count, "feed_forward": 8, "layers": depth}
        for count, channels, depth in zip(heads, size, (2, layers), strict=True)
    ]
    teacher, student = (
        ModelConfig.model_validate(
            {"encoder": one, "decoder": one, "source_vocabulary": 9, "target_vocabulary": 9}
        )
        for one in stacks
    )
    start = Transformer(teacher).state_dict()
    weights = {name: torch.randn_like(one) for name, one in start.items()}
    config = GeneratorConfig.model_validate({"grouping": {"sharing": sharing}})
    maps = ParameterGenerator(teacher, student, weights, config).maps
    (many, few), (large, small) = heads, size
    for block in ("encoder.self_attention", "decoder.self_attention", "decoder.cross_attention"):
        bases = {
            (module, tensor): maps.width_maps[maps.keys[f"{block}.{module}.{tensor}"].output]
            for module, tensor in product(("query", "key", "value"), ("weight", "bias"))
        }
        bases["output", "weight"] = maps.width_maps[maps.keys[f"{block}.output.weight"].input]
        for one, other in (("query", "key"), ("value", "output")):
            assert torch.equal(bases[one, "weight"], bases[other, "weight"])
        origins = set()
        for basis in (each for copies in bases.values() for each in copies):
            drawn_from = basis.reshape(many, large, few, small).abs().sum((1, 3)) > 0
            assert (drawn_from.sum(0) == 1).all()
            origins.add(tuple(drawn_from.int().argmax(0).tolist()))
        assert len(origins) == 1, (block, origins)
        assert len(set(*origins)) == few


def test_the_strongest_heads_are_kept(teacher_config: Config) -> None:
    """A head is as strong as the product of its queries, keys, values and outputs."""
    teacher = teacher_config()  # 4 heads of 4 channels
    weights = Transformer(teacher).state_dict()
    strengths = {"query": [9, 1, 1, 3], "key": [1, 1, 1, 3], "value": [1, 2, 1, 3]}
    for name, weight in weights.items():
        block, _, module = name.removesuffix(".weight").rpartition(".")
        if block.endswith("decoder.layers.5.self_attention") and name.endswith("weight"):
            scale = torch.tensor(strengths.get(module, [1, 1, 1, 1])).repeat_interleave(4)
            torch.nn.init.orthogonal_(weight)
            weight *= scale if module == "output" else scale[:, None]
    narrow = StackOverride(layers=1, d_model=8, heads=2)
    student = StudentShape(decoder=narrow).of(teacher)
    maps = ParameterGenerator(teacher, student, weights, GeneratorConfig()).maps
    key = maps.keys["decoder.self_attention.value.weight"].output
    (basis,) = maps.width_maps[key].detach()
    assert basis.any(1).reshape(4, 4).any(1).tolist() == [True, False, False, True]


@pytest.mark.parametrize("maps", ["identity", "svd", "axis"])
def test_a_wider_student_has_no_dead_channels(teacher_config: Config, maps: str) -> None:
    torch.manual_seed(6)
    teacher = teacher_config()
    wider = StackOverride(d_model=24, feed_forward=48)
    student = StudentShape(encoder=wider, decoder=wider).of(teacher)
    config = GeneratorConfig.model_validate({"initialisation": {"maps": maps}})
    generator = ParameterGenerator(teacher, student, Transformer(teacher).state_dict(), config)
    weights = {
        name: value.detach().requires_grad_() for name, value in generator.materialize().items()
    }
    ids = torch.randint(PAD + 1, 20, (6, 9))
    functional_call(Transformer(student), weights, (ids, ids)).square().sum().backward()
    for name, value in weights.items():
        if value.dim() == 2 and "embedding" not in name:
            dead = (value == 0) & (value.grad == 0)
            assert not dead.any(), name


def test_the_strongest_channels_are_selected() -> None:
    users = [torch.tensor([[1.0, 3.0, 2.0, 4.0]]), torch.tensor([[1.0, 1.0, 5.0, 1.0]])]
    chosen = selected(users, 2)
    torch.testing.assert_close(chosen, torch.eye(4)[:, [2, 3]])
