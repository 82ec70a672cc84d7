"""The generated weights are those of the paper's formula, and so are their gradients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from wd.data.schema import PAD
from wd.generator.generator import ParameterGenerator
from wd.generator.grouping import WeightClass, subset_bounds
from wd.generator.initialisation import gate, shift
from wd.generator.maps import Maps, StepMaps
from wd.generator.transform import Elementwise, Transformation
from wd.model.transformer import Transformer

Build = Callable[..., ParameterGenerator]
NO_MAPS = StepMaps(Maps({}, {}), Maps({}, {}))
SHARING = ["class", "subset", "stack"]


def shaken(generator: ParameterGenerator) -> ParameterGenerator:
    """Move every parameter away from its start."""
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return generator


class OneClass(nn.Module):
    """One class's part of a generator, and the maps."""

    def __init__(self, generator: ParameterGenerator, each: WeightClass) -> None:
        super().__init__()
        self.part, self.maps = generator.parts[each.key], generator.maps

    def forward(self) -> Tensor:
        return torch.stack(list(self.part(self.maps.by_key())))


def naive(generator: ParameterGenerator, each: WeightClass, teacher: Tensor, subset: int) -> Tensor:
    """Return T of one subset by section 3.2's steps in the paper's order, element by element."""
    keys, maps = generator.maps.keys[each.name], generator.maps.by_key().exact
    first, end = subset_bounds(each.subsets)[subset]
    mix = maps.layers[keys.layer][subset] if keys.layer else torch.ones(end)
    chosen = {
        name: maps.widths[key][min(subset, len(maps.widths[key]) - 1)] if key else None
        for name, key in (("output", keys.output), ("input", keys.input))
    }
    instances = [teacher[layer].reshape(len(teacher[layer]), -1) for layer in range(first, end)]
    if chosen["input"] is not None:
        instances = [
            torch.stack([sum(w[:, a] * column[a] for a in range(len(column))) for column in m.T], 1)
            for w, m in zip(instances, [chosen["input"]] * len(instances), strict=True)
        ]
    if chosen["output"] is not None:
        instances = [
            torch.stack([sum(w[a] * column[a] for a in range(len(column))) for column in m.T])
            for w, m in zip(instances, [chosen["output"]] * len(instances), strict=True)
        ]
    total = sum(mix[layer] * instances[layer - first] for layer in range(first, end))
    assert isinstance(total, Tensor)
    return total


@pytest.mark.parametrize("sharing", SHARING)
@pytest.mark.parametrize(("layer_map", "start"), [("plain", "exact"), ("factored", "shift")])
@pytest.mark.parametrize("name", ["tiny", "uneven", "both", "thin"])
def test_equals_the_formula_written_naively(
    build: Build, sharing: str, layer_map: str, start: str, name: str
) -> None:
    grouping = {"sharing": sharing, "layer_map": layer_map}
    generator = shaken(build(name, grouping, maps="xavier", gate=start))
    student = generator.materialize()
    for each in generator.classes:
        part = generator.formula_parts()[each.name]
        if isinstance(part, Elementwise):
            continue  # W and B are one: compared below, by how they move
        for subset, weight in enumerate(each.student):
            t = naive(generator, each, part.teacher, subset).reshape(each.student_shape)
            gates = 1 if part.gate is None else part.gate[subset]
            expected = torch.tanh(t) * gates + part.shift[subset]
            torch.testing.assert_close(student[weight], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gate_start", ["exact", "reference", "shift"])
@pytest.mark.parametrize(("learned_gate", "weight_decay"), [(True, 0.0), (True, 0.1), (False, 0.0)])
def test_without_maps_one_parameter_moves_as_gate_and_shift_do(
    gate_start: str, learned_gate: bool, weight_decay: float
) -> None:
    torch.manual_seed(3)
    teacher, target = 0.3 * torch.randn(2, 3, 5).double(), torch.randn(2, 3, 5).double()
    part = Elementwise(teacher, gate_start, learned_gate=learned_gate)
    w, b = gate(teacher, gate_start), shift(teacher, gate_start).requires_grad_()
    separately = [w.requires_grad_(), b] if learned_gate else [b]

    def separate() -> Tensor:
        return teacher.tanh() * w + b

    runs = [
        (list(part.parameters()), lambda: torch.stack(list(part(NO_MAPS)))),
        (separately, separate),
    ]
    start = separate().detach()
    for parameters, make in runs:
        torch.testing.assert_close(make(), start)
        optimizer = torch.optim.AdamW(
            parameters, lr=0.01, betas=(0.9, 0.98), eps=1e-9, weight_decay=weight_decay
        )
        for _ in range(30):
            optimizer.zero_grad()
            (make() - target).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(torch.stack(list(part(NO_MAPS))), separate())
    assert not torch.allclose(separate(), start, atol=0.1)
    assert not torch.allclose(b, torch.zeros_like(b), atol=0.05)


@pytest.mark.parametrize("sharing", SHARING)
def test_parameters_lie_in_memory_as_checkpoints_hold_them(build: Build, sharing: str) -> None:
    """Fused optimisers walk through parameters and their moments by address."""
    for name in ("tiny", "uneven", "both", "thin"):
        assert all(each.is_contiguous() for each in build(name, {"sharing": sharing}).parameters())


def test_weights_that_keep_their_shape_are_gated_elementwise(build: Build) -> None:
    reference = build("small", maps="identity", gate="reference")
    name = "encoder.layers.3.self_attention.query.weight"
    exact = build("small", maps="identity", gate="exact").materialize()  # the teacher's own
    torch.testing.assert_close(reference.materialize()[name], exact[name].tanh())
    assert not any(key.startswith("encoder") for key in reference.state_dict() if "map" in key)


@pytest.mark.parametrize("sharing", SHARING)
@pytest.mark.parametrize("name", ["tiny", "both"])
def test_the_order_of_the_maps_changes_nothing(build: Build, sharing: str, name: str) -> None:
    generator = shaken(build(name, {"sharing": sharing}, maps="xavier")).double()
    expected = generator.materialize()
    for part in generator.parts.values():
        if isinstance(part, Transformation):
            part._alone._first = "output" if part._alone._first == "input" else "input"
    for weight, value in generator.materialize().items():
        torch.testing.assert_close(value, expected[weight])


@pytest.mark.parametrize(
    ("name", "grouping"),
    [
        ("tiny", {"sharing": "class"}),
        ("tiny", {"learned_gates": "all"}),
        ("tiny", {"sharing": "stack", "layer_map": "factored"}),
        ("uneven", {"sharing": "subset"}),
        ("same", {"width_maps": "all"}),
        ("tiny", {"norms": "fresh", "biases": "fresh", "output_projection": "linear"}),
    ],
)
def test_gradients_match_finite_differences(
    build: Build, name: str, grouping: dict[str, str]
) -> None:
    """One class of every kind, with the maps that it goes through."""
    generator = shaken(build(name, grouping)).double()
    classes = {(each.kind, each.stack, each.agrees): each for each in generator.classes}
    for each in classes.values():
        alone = OneClass(generator, each)
        parameters = {name: p for name, p in alone.named_parameters() if p.requires_grad}
        gradients = torch.autograd.grad(alone().sum(), list(parameters.values()), allow_unused=True)
        used = [name for name, grad in zip(parameters, gradients, strict=True) if grad is not None]

        def run(*given: Tensor, alone: OneClass = alone, used: list[str] = used) -> Any:
            return functional_call(alone, dict(zip(used, given, strict=True)))

        given = tuple(parameters[name].detach().requires_grad_() for name in used)
        assert torch.autograd.gradcheck(run, given, fast_mode=True)


@pytest.mark.parametrize("training", [True, False])
def test_generated_and_run_is_materialised_and_run(build: Build, training: bool) -> None:
    generator = shaken(build("tiny"))
    ids = torch.randint(PAD + 1, 20, (3, 7))
    materialised = Transformer(generator.student, dropout=0.3).train(training)
    materialised.load_state_dict(generator.materialize())
    skeleton = Transformer(generator.student, dropout=0.3).train(training)
    torch.manual_seed(5)
    expected = materialised(ids, ids)
    torch.manual_seed(5)
    found = functional_call(skeleton, generator.materialize(), (ids, ids))
    torch.testing.assert_close(found, expected)


def test_is_one_graph_for_the_compiler(build: Build) -> None:
    generator = shaken(build("both"))
    compiled = torch.compile(generator.materialize, backend="eager", fullgraph=True)()
    for name, weight in generator.materialize().items():
        torch.testing.assert_close(compiled[name], weight)


def test_a_linear_projection_is_the_table_through_its_width_map(build: Build) -> None:
    generator = build("tiny", {"output_projection": "linear"}, maps="identity")
    part = generator.parts["output_projection/weight"]
    assert isinstance(part, Transformation)
    assert not list(part.parameters())
    projected = generator.materialize()["output_projection.weight"]
    torch.testing.assert_close(projected, part.teacher[0][:, :8])


@pytest.mark.parametrize("projection", ["gated", "linear"])
@pytest.mark.parametrize("start", ["exact", "shift"])
def test_weights_keep_their_precision_where_products_are_rounded(
    build: Build, projection: str, start: str
) -> None:
    generator = shaken(build("both", {"output_projection": projection}, gate=start))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = generator.materialize()
    for name, weight in generator.materialize().items():
        assert rounded[name].dtype == torch.float32
        torch.testing.assert_close(rounded[name], weight, rtol=0.05, atol=0.05)


def test_no_product_rounds_a_vector(build: Build) -> None:
    """A gain near 1 would lose up to 0.2 % of itself, at every layer alike."""
    generator = shaken(build("both", {"layer_map": "factored"}))
    exact = generator.materialize()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = generator.materialize()
    mapped = {key for each in generator.classes if not each.agrees for key in each.student}
    for name in mapped:
        assert torch.equal(rounded[name], exact[name]) == (exact[name].dim() == 1), name


def test_what_rounding_keeps_is_for_rounded_products_only(build: Build) -> None:
    generator = shaken(build("both"))
    before = generator.materialize()
    with torch.autocast("cpu", torch.bfloat16):
        generator.materialize()
    for name, weight in generator.materialize().items():
        assert torch.equal(weight, before[name])


@pytest.mark.parametrize(
    "grouping", [{}, {"learned_gates": "all"}, {"embeddings": "fresh"}], ids=str
)
@pytest.mark.parametrize("name", ["tiny", "small"])
def test_rows_that_are_looked_up_and_their_gradients_are_the_whole_tables(
    build: Build, name: str, grouping: dict[str, str]
) -> None:
    generator = shaken(build(name, grouping))
    rows = torch.tensor([0, 3, 4, 17])
    tables = ("source_embedding.weight", "target_embedding.weight")

    def run(looked_up: dict[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        generator.zero_grad()
        student = generator.materialize(looked_up)
        read = [student[table][rows] for table in tables]
        others = [each for table, each in student.items() if table not in tables]
        torch.stack([each.sin().sum() for each in [*read, *others]]).sum().backward()
        return read, [each.grad for each in generator.parameters() if each.grad is not None]

    torch.use_deterministic_algorithms(True)  # fills what is left undefined with NaN
    try:
        lean = run(dict.fromkeys(tables, rows))
    finally:
        torch.use_deterministic_algorithms(False)
    for whole, found in zip(run({}), lean, strict=True):
        assert len(whole) == len(found)
        for one, other in zip(whole, found, strict=True):
            torch.testing.assert_close(one, other)
