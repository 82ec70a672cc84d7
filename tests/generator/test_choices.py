"""What each choice of grouping and of start promises."""

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from wd.config import GeneratorConfig, GroupingConfig, ModelConfig, StackOverride, StudentShape
from wd.data.schema import PAD
from wd.errors import ConfigError
from wd.generator.generator import ParameterGenerator
from wd.generator.grouping import weight_classes
from wd.generator.initialisation import principal, principal_in_heads, selected
from wd.generator.transform import Direct, Elementwise, Gated
from wd.model.sizes import tensor_shapes
from wd.model.transformer import Transformer

Build = Callable[..., ParameterGenerator]
Config = Callable[..., ModelConfig]
QUERY = "self_attention.query.weight"
INNER = "decoder.feed_forward.inner.weight"
BLOCKS = ("self_attention", "cross_attention")
MATRICES = (
    "target_embedding.weight",
    "output_projection.weight",
    *(f"decoder.feed_forward.{module}.weight" for module in ("inner", "outer")),
    *(
        f"decoder.{block}.{module}.weight"
        for block in BLOCKS
        for module in ("query", "key", "value", "output")
    ),
)
"""What changes its shape from `build`'s teacher to its TINY student."""


def logits(config: ModelConfig, weights: dict[str, Tensor]) -> Tensor:
    model = Transformer(config).eval()
    model.load_state_dict(weights)
    ids = torch.arange(PAD + 1, PAD + 9).reshape(2, 4)
    with torch.no_grad():
        return torch.as_tensor(model(ids, ids))


@pytest.mark.parametrize("width_maps", ["changed_axes", "all"])
@pytest.mark.parametrize("maps", ["identity", "svd", "axis"])
def test_the_teachers_own_shape_starts_with_the_teachers_logits(
    teacher_config: Config, width_maps: str, maps: str
) -> None:
    teacher = teacher_config()
    weights = Transformer(teacher).state_dict()
    config = GeneratorConfig.model_validate(
        {"grouping": {"width_maps": width_maps}, "initialisation": {"maps": maps, "gate": "exact"}}
    )
    generated = ParameterGenerator(teacher, teacher, weights, config).materialize()
    torch.testing.assert_close(
        logits(teacher, generated), logits(teacher, weights), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ("layers", "sharing", "taken"),
    [
        ("mean", "class", [3, 4, 5]),
        ("first", "class", [3]),
        ("middle", "class", [4]),
        ("last", "class", [5]),
        ("spread", "class", [3]),
        ("spread", "subset", [5]),
    ],
)
def test_a_shallower_student_starts_with_the_chosen_layers(
    build: Build, layers: str, sharing: str, taken: list[int]
) -> None:
    generator = build("small", {"sharing": sharing}, maps="identity", layers=layers)
    teacher = generator.formula_parts()["decoder." + QUERY].teacher
    torch.testing.assert_close(
        generator.materialize()[f"decoder.layers.1.{QUERY}"],
        teacher[taken].mean(0),
        rtol=1e-4,
        atol=1e-6,
    )


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


def test_of_fewer_heads_the_strongest_stay_whole() -> None:
    users = [torch.cat([torch.randn(9, 4), 3 * torch.randn(9, 4), 2 * torch.randn(9, 4)], 1)]
    basis = principal_in_heads(users, 8, 3, 2)
    assert not basis[:4].any()  # the weakest head
    assert not basis[4:8, 4:].any()
    assert not basis[8:, :4].any()
    torch.testing.assert_close(basis.T @ basis, torch.eye(8), rtol=1e-4, atol=1e-5)


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


@pytest.mark.parametrize("sharing", ["class", "subset", "stack"])
def test_maps_are_shared_as_asked(build: Build, sharing: str) -> None:
    generator = build("small", {"sharing": sharing})
    key = generator.maps.keys["decoder." + QUERY].output
    users = [name for name, keys in generator.maps.keys.items() if keys.output == key]
    copies = len(generator.maps.width_maps[key])
    assert copies == (2 if sharing == "subset" else 1)
    expected = {"decoder.self_attention." + name for name in ("query.weight", "query.bias")}
    expected |= {"decoder.self_attention." + name for name in ("key.weight", "key.bias")}
    own = {"decoder." + QUERY, "decoder.self_attention.query.bias"}
    assert set(users) == (expected if sharing == "stack" else own)


@pytest.mark.parametrize(
    ("student", "width_maps", "mapped"),
    [
        ("tiny", "changed_axes", ["decoder"]),
        ("small", "changed_axes", []),
        ("tiny", "changed_classes", ["decoder"]),
        ("small", "changed_classes", ["decoder"]),
        ("tiny", "mixing_axes", ["decoder"]),
        ("small", "mixing_axes", ["decoder"]),
        ("tiny", "all", ["encoder", "decoder"]),
        ("small", "all", ["encoder", "decoder"]),
    ],
)
def test_width_maps_are_along_the_chosen_axes(
    build: Build, student: str, width_maps: str, mapped: list[str]
) -> None:
    keys = build(student, {"width_maps": width_maps}).maps.keys
    for stack in ("encoder", "decoder"):
        found = keys[f"{stack}.{QUERY}"]
        assert bool(found.input) == bool(found.output) == (stack in mapped)
        assert bool(found.layer) == (stack == "decoder")
    from_encoder = keys["decoder.cross_attention.key.weight"]  # whose width is kept
    assert bool(from_encoder.input) == (width_maps != "changed_axes")
    inner = keys["decoder.feed_forward.outer.weight"].input
    assert bool(inner) == (student == "tiny" or width_maps in ("changed_classes", "all"))


def test_what_is_not_learned_has_no_gradient_but_is_saved(build: Build) -> None:
    generator = build("tiny", {"learned_maps": ["layer"]})
    learned = {name for name, value in generator.named_parameters() if value.requires_grad}
    frozen = set(generator.state_dict()) - learned
    gates = {name for name in frozen if name.endswith(".gate")}
    assert gates == {f"parts.{name.replace('.', '/')}.gate" for name in MATRICES}
    assert frozen > gates
    assert all(name.startswith("maps.width_maps.") for name in frozen - gates)


@pytest.mark.parametrize("chosen", ["vectors", "all"])
def test_whose_gates_are_learned(build: Build, chosen: str) -> None:
    generator = build("tiny", {"learned_gates": chosen})
    for each in generator.classes:
        part, vector = generator.parts[each.key], len(each.student_shape) == 1
        if isinstance(part, Gated):
            assert part.gate.requires_grad == (vector or chosen == "all")
            assert part.shift.requires_grad
        else:
            assert isinstance(part, Elementwise)
            assert (part.scale is not None) == (vector or chosen == "all")


@pytest.mark.parametrize("part", ["norms", "biases", "embeddings"])
@pytest.mark.parametrize(
    ("choice", "layers"), [("fresh", "spread"), *product(["copied"], ["spread", "last", "mean"])]
)
def test_a_part_can_be_copied_or_fresh(build: Build, part: str, choice: str, layers: str) -> None:
    generator = build("small", {part: choice}, layers=layers)
    direct = [each for each in generator.classes if each.part == part]
    assert direct
    for each in generator.classes:
        assert (type(generator.parts[each.key]) is Direct) == (each in direct)
    if choice == "copied":
        generated = build("small", maps="identity", layers=layers).materialize()
        for name in (name for each in direct for name in each.student):
            torch.testing.assert_close(generator.materialize()[name], generated[name])


def test_what_has_another_shape_cannot_be_copied(build: Build) -> None:
    with pytest.raises(ConfigError, match=r"grouping.norms: decoder.* cannot be copied: .*16.*8"):
        build("tiny", {"norms": "copied"})


def test_tied_tables_stay_tied(build: Build) -> None:
    generator = build("tiny", teacher={"tied_embeddings": "decoder"})
    assert "output_projection.weight" not in generator.materialize()


def test_one_table_for_all_can_become_three(teacher_config: Config) -> None:
    teacher = teacher_config(tied_embeddings="all")
    student = StudentShape(tied_embeddings="none", decoder=StackOverride(d_model=8)).of(teacher)
    weights = Transformer(teacher).state_dict()
    generated = ParameterGenerator(teacher, student, weights, GeneratorConfig()).materialize()
    assert {name: tuple(w.shape) for name, w in generated.items()} == tensor_shapes(student)


def test_the_reference_preset_is_the_published_code(teacher_config: Config) -> None:
    """Maps per student layer, random; K x K before K x 1; W = 1, B = 0; a linear projection."""
    teacher = teacher_config()
    student = StudentShape(decoder=StackOverride(layers=2, d_model=8)).of(teacher)
    weights = Transformer(teacher).state_dict()
    config = GeneratorConfig.model_validate({"preset": "reference"})
    generator = ParameterGenerator(teacher, student, weights, config)
    parts = generator.formula_parts()
    assert torch.equal(parts[INNER].gate, torch.ones_like(parts[INNER].gate))
    assert not parts[INNER].shift.any()
    assert "output_projection.weight" not in parts
    layer_map = generator.maps.layer_maps[INNER.replace(".", "/")]
    assert [tuple(square.shape) for square in layer_map.squares] == [(3, 3), (3, 3)]
    torch.testing.assert_close(
        layer_map(), torch.tensor([[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]) / 3
    )
    maps = generator.maps.width_maps[f"{INNER.replace('.', '/')}/input"]
    assert maps.shape == (2, 16, 8)
    assert not torch.equal(maps[0], maps[1])
    name = "encoder.layers.2." + QUERY
    torch.testing.assert_close(generator.materialize()[name], weights[name].tanh())


def test_a_student_of_another_kind_is_refused(teacher_config: Config) -> None:
    for change in ({"norm": "post"}, {"activation": "gelu"}, {"biases": False}):
        with pytest.raises(ConfigError, match=r"the student has .* and its teacher"):
            weight_classes(teacher_config(), teacher_config(**change), GroupingConfig())


def test_one_table_from_two_widths_is_refused(teacher_config: Config) -> None:
    teacher = teacher_config()
    wider = teacher.decoder.model_copy(update={"d_model": 2 * teacher.decoder.d_model})
    uneven = teacher.model_copy(update={"decoder": wider, "tied_embeddings": "none"})
    student = teacher.model_copy(update={"tied_embeddings": "all"})
    with pytest.raises(ConfigError, match="one table serves both stacks"):
        weight_classes(uneven, student, GroupingConfig())
    weight_classes(teacher, student, GroupingConfig())
