"""What each choice of grouping and of start promises."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from wd.config import GeneratorConfig, GroupingConfig, ModelConfig, StackOverride, StudentShape
from wd.data.schema import PAD
from wd.errors import ConfigError
from wd.generator.choices import MapKeys, map_keys
from wd.generator.generator import ParameterGenerator
from wd.generator.grouping import weight_classes
from wd.generator.sizes import map_sizes, own_parameters
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
@pytest.mark.parametrize("gate", ["exact", "shift"])
def test_the_teachers_own_shape_starts_with_the_teachers_logits(
    teacher_config: Config, width_maps: str, maps: str, gate: str
) -> None:
    teacher = teacher_config()
    weights = Transformer(teacher).state_dict()
    config = GeneratorConfig.model_validate(
        {"grouping": {"width_maps": width_maps}, "initialisation": {"maps": maps, "gate": gate}}
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


STACKS = [{}, {"d_model": 8}, {"feed_forward": 12}, {"layers": 2}, {"layers": 2, "d_model": 8}]


@pytest.mark.parametrize("sharing", ["class", "subset", "stack"])
@pytest.mark.parametrize("width_maps", ["changed_classes", "mixing_axes", "changed_axes", "all"])
def test_a_bias_goes_where_its_weights_outputs_go(
    teacher_config: Config, sharing: str, width_maps: str
) -> None:
    """Also where it keeps its shape while its weight's inputs do not."""
    teacher = teacher_config()
    grouping = GroupingConfig.model_validate({"sharing": sharing, "width_maps": width_maps})
    for encoder, decoder in product(STACKS, repeat=2):
        shape = StudentShape.model_validate({"encoder": encoder, "decoder": decoder})
        classes = weight_classes(teacher, shape.of(teacher), grouping)
        keys = {each.name: map_keys(each, grouping) for each in classes}
        for bias in (each for each in classes if each.part == "biases"):
            weight = keys[bias.name.removesuffix("bias") + "weight"]
            assert keys[bias.name].output == weight.output, (encoder, decoder, bias.name)
            assert bool(keys[bias.name].layer) == bool(weight.layer)
            assert keys[bias.name].input is None


def test_a_weight_that_keeps_shape_and_depth_has_no_maps_nor_has_its_bias(
    teacher_config: Config,
) -> None:
    teacher = teacher_config()
    shape = StudentShape(encoder=StackOverride(d_model=8), decoder=StackOverride(feed_forward=12))
    classes = weight_classes(teacher, shape.of(teacher), GroupingConfig())
    mapped = {each.name for each in classes if map_keys(each, GroupingConfig()) != MapKeys()}
    within = {name for name in mapped if name.startswith("decoder.")}
    assert within == {
        f"decoder.{module}.{tensor}"
        for module in (
            *("cross_attention.key", "cross_attention.value"),
            *("feed_forward.inner", "feed_forward.outer"),
        )
        for tensor in ("weight", "bias")
    }


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
    generator = build("tiny", {"learned_maps": ["layer"]}, gate="exact")
    learned = {name for name, value in generator.named_parameters() if value.requires_grad}
    frozen = set(generator.state_dict()) - learned
    gates = {name for name in frozen if name.endswith(".gate")}
    assert gates == {f"parts.{name.replace('.', '/')}.gate" for name in MATRICES}
    assert frozen > gates
    assert all(name.startswith("maps.width_maps.") for name in frozen - gates)


@pytest.mark.parametrize("chosen", ["vectors", "all"])
def test_whose_gates_are_learned(build: Build, chosen: str) -> None:
    generator = build("tiny", {"learned_gates": chosen}, gate="exact")
    for each in generator.classes:
        part, vector = generator.parts[each.key], len(each.student_shape) == 1
        if isinstance(part, Gated):
            assert part.gate.requires_grad == (vector or chosen == "all")
            assert part.shift.requires_grad
        else:
            assert isinstance(part, Elementwise)
            assert (part.scale is not None) == (vector or chosen == "all")


@pytest.mark.parametrize("gates", ["vectors", "all"])
@pytest.mark.parametrize(
    ("start", "is_t"), [("exact", True), ("shift", True), ("reference", False)]
)
def test_where_gate_and_shift_start(build: Build, start: str, is_t: bool, gates: str) -> None:
    """At W = 1, which is stored where it is learned only, or where W alone makes S = T."""
    generator = build("both", {"learned_gates": gates}, gate=start)
    student, maps = generator.materialize(), generator.maps.by_key()
    for each in generator.classes:
        part = generator.parts[each.key]
        assert isinstance(part, Gated)
        t, made = part.mapped(maps), torch.stack([student[name] for name in each.student])
        torch.testing.assert_close(made, t if is_t else t.tanh(), rtol=1e-6, atol=1e-7)
        learned = gates == "all" or len(each.student_shape) == 1
        assert (part.gate is None) == (start != "exact" and not learned)
        if part.gate is not None:
            assert bool((part.gate == 1).all()) == (start != "exact")
        assert bool(part.shift.any()) == (start == "shift")


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


@pytest.mark.parametrize("preset", [None, "reference"])
@pytest.mark.parametrize("tied", ["none", "all"])
def test_the_words_bias_is_the_teachers_and_trained(
    teacher_config: Config, preset: str | None, tied: str
) -> None:
    teacher = teacher_config(output_bias=True, tied_embeddings=tied)
    weights = Transformer(teacher).state_dict() | {"output_bias": torch.linspace(-100, 3, 20)}
    narrow = StudentShape(decoder=StackOverride(layers=1, d_model=8), tied_embeddings="decoder").of(
        teacher
    )
    config = GeneratorConfig.model_validate({"preset": preset})
    generator = ParameterGenerator(teacher, narrow, weights, config)
    student = generator.materialize()
    assert torch.equal(student["output_bias"], weights["output_bias"])
    student["output_bias"].sum().backward()
    trained = {name for name, each in generator.named_parameters() if each.grad is not None}
    assert trained == {"parts.output_bias.weights.0"}
    sizes = sum(own_parameters(each, config.grouping) for each in generator.classes)
    maps = sum(each.parameters for each in map_sizes(generator.classes, config.grouping))
    learned = (each.numel() for each in generator.parameters() if each.requires_grad)
    assert sizes + maps == sum(learned)


@pytest.mark.parametrize(
    "change",
    [
        {"output_bias": True},
        {"scale_embeddings": False},
        {"positions": "paper"},
        {"first_position": 2},
        {"activation": "silu"},
    ],
    ids=str,
)
def test_a_student_is_built_as_its_teacher(teacher_config: Config, change: dict[str, Any]) -> None:
    teacher = teacher_config()
    (rule,) = change
    with pytest.raises(ConfigError, match=f"{rule}: the student has .* and its teacher"):
        weight_classes(teacher, teacher_config(**change), GroupingConfig())
    inherited = StudentShape(decoder=StackOverride(layers=1)).of(teacher_config(**change))
    assert getattr(inherited, rule) == change[rule]
