"""What must hold for every generator, whatever its shapes and choices."""

from itertools import product

import pytest
import torch
from torch.func import functional_call

from wd.config import (
    GeneratorConfig,
    GroupingConfig,
    InitialisationConfig,
    ModelConfig,
    StackOverride,
    StackShape,
    StudentShape,
)
from wd.data.schema import PAD
from wd.errors import ConfigError
from wd.generator import ParameterGenerator
from wd.generator.grouping import subset_sizes, weight_classes
from wd.generator.layer_copy import copied_weights
from wd.model.sizes import tensor_shapes
from wd.model.transformer import Transformer

STACK = StackShape(layers=6, d_model=16, heads=4, feed_forward=24)
STUDENTS = {
    "tiny": StudentShape(decoder=StackOverride(layers=1, d_model=8, feed_forward=12)),
    "small": StudentShape(decoder=StackOverride(layers=2)),
    "uneven": StudentShape(decoder=StackOverride(layers=4, heads=2)),
    "both": StudentShape(
        encoder=StackOverride(layers=3, d_model=12), decoder=StackOverride(layers=5, d_model=24)
    ),
    "same": StudentShape(),
}
CHOICES = list(product(("class", "subset"), ("xavier", "identity", "auto"), ("reference", "exact")))


def teacher_config(**changes: object) -> ModelConfig:
    vocabularies = {"source_vocabulary": 20, "target_vocabulary": 20}
    return ModelConfig.model_validate(
        {"encoder": STACK, "decoder": STACK, "norm": "pre", **vocabularies, **changes}
    )


def generator_config(sharing: str, maps: str, gate: str) -> GeneratorConfig:
    return GeneratorConfig(
        grouping=GroupingConfig.model_validate({"sharing": sharing}),
        initialisation=InitialisationConfig.model_validate({"maps": maps, "gate": gate}),
    )


def build(student: str, config: GeneratorConfig, **changes: object) -> ParameterGenerator:
    torch.manual_seed(1)
    teacher = teacher_config(**changes)
    weights = Transformer(teacher).state_dict()
    return ParameterGenerator(teacher, STUDENTS[student].of(teacher), weights, config)


@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("ties", ["none", "decoder"])
def test_generates_every_student_weight_in_its_shape(student: str, norm: str, ties: str) -> None:
    for choice in CHOICES:
        generator = build(student, generator_config(*choice), norm=norm, tied_embeddings=ties)
        weights = generator.materialize()
        shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
        assert shapes == tensor_shapes(generator.student)
        assert all(weight.isfinite().all() for weight in weights.values())


def test_one_table_for_all_can_become_three() -> None:
    teacher = teacher_config(tied_embeddings="all")
    student = StudentShape(tied_embeddings="none", decoder=StackOverride(d_model=8)).of(teacher)
    weights = Transformer(teacher).state_dict()
    generated = ParameterGenerator(teacher, student, weights, GeneratorConfig()).materialize()
    assert {name: tuple(w.shape) for name, w in generated.items()} == tensor_shapes(student)


def test_follows_the_formula_written_naively() -> None:
    """Section 3.2, equations 2 to 4, one output element at a time."""
    generator = build("tiny", generator_config("subset", "xavier", "reference"))
    name = "decoder.self_attention.query.weight"
    transform = generator.transformations[name.replace(".", "/")]
    with torch.no_grad():
        for parameter in transform.parameters():
            parameter.copy_(torch.randn_like(parameter))
    teacher, mix = transform.teacher, transform.layer_map.weight
    w_out, w_in = transform.output_map[0], transform.input_map[0]
    expected = torch.empty(8, 8)
    for o, i in product(range(8), range(8)):
        t = sum(
            mix[k] * w_out[out, o] * w_in[inside, i] * teacher[k, out, inside]
            for k, out, inside in product(range(6), range(16), range(16))
        )
        expected[o, i] = torch.tanh(t) * transform.gate[0, o, i] + transform.shift[0, o, i]
    found = generator.materialize()["decoder.layers.0.self_attention.query.weight"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("student", ["tiny", "uneven", "same"])
def test_gradients_match_finite_differences(student: str) -> None:
    generator = build(student, generator_config("class", "auto", "exact")).double()
    for transform in generator.transformations.values():
        parameters = dict(transform.named_parameters())
        names, values = zip(*parameters.items(), strict=True)

        def run(*given: torch.Tensor, module=transform, names=names) -> torch.Tensor:
            return functional_call(module, dict(zip(names, given, strict=True)))

        assert torch.autograd.gradcheck(
            run, tuple(v.detach().requires_grad_() for v in values), fast_mode=True
        )


def test_exact_start_of_the_teachers_own_shape_is_the_teacher() -> None:
    teacher = teacher_config()
    weights = Transformer(teacher).state_dict()
    config = generator_config("class", "identity", "exact")
    generated = ParameterGenerator(teacher, teacher, weights, config).materialize()
    for name, weight in weights.items():
        torch.testing.assert_close(generated[name], weight, rtol=1e-5, atol=1e-6)


def test_exact_identity_start_averages_the_subsets() -> None:
    teacher = teacher_config()
    weights = Transformer(teacher).state_dict()
    student = STUDENTS["small"].of(teacher)
    config = generator_config("class", "identity", "exact")
    generated = ParameterGenerator(teacher, student, weights, config).materialize()
    role = "feed_forward.inner.weight"
    mean = torch.stack([weights[f"decoder.layers.{layer}.{role}"] for layer in (3, 4, 5)]).mean(0)
    torch.testing.assert_close(generated[f"decoder.layers.1.{role}"], mean, rtol=1e-4, atol=1e-6)


def test_generated_and_run_is_materialised_and_run() -> None:
    generator = build("tiny", GeneratorConfig())
    ids = torch.randint(PAD + 1, 20, (3, 7))
    for dropout in (0.0, 0.3):
        materialised = Transformer(generator.student, dropout)
        materialised.load_state_dict(generator.materialize())
        skeleton = Transformer(generator.student, dropout)
        torch.manual_seed(5)
        expected = materialised(ids, ids)
        torch.manual_seed(5)
        found = functional_call(skeleton, generator.materialize(), (ids, ids))
        torch.testing.assert_close(found, expected)


def test_only_maps_gates_and_shifts_are_trained_or_saved() -> None:
    generator = build("tiny", GeneratorConfig())
    last = {name.rsplit(".", 1)[-1] for name in generator.state_dict()}
    assert last == {"gate", "shift", "output_map", "input_map", "weight"}
    assert set(dict(generator.named_parameters())) == set(generator.state_dict())


def test_subsets_cover_every_layer_once() -> None:
    for many, few in product(range(1, 13), repeat=2):
        teacher = teacher_config(decoder=STACK.model_copy(update={"layers": many}))
        student = teacher_config(decoder=STACK.model_copy(update={"layers": few}))
        if few > many:
            with pytest.raises(ConfigError, match=f"student of {few} layers"):
                subset_sizes("decoder", teacher, student, None)
            continue
        sizes = subset_sizes("decoder", teacher, student, None)
        assert (len(sizes), sum(sizes)) == (few, many)
        assert max(sizes) - min(sizes) <= 1


def test_given_subsets_are_kept_or_refused() -> None:
    teacher = teacher_config()
    student = STUDENTS["small"].of(teacher)
    classes = weight_classes(teacher, student, GroupingConfig(decoder_subsets=(1, 5)))
    assert {each.subsets for each in classes if each.name.startswith("decoder.self")} == {(1, 5)}
    with pytest.raises(ConfigError, match=r"decoder_subsets: \[1, 4\] are 2 subsets of 5"):
        weight_classes(teacher, student, GroupingConfig(decoder_subsets=(1, 4)))


def test_a_student_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="norm: the student has post and its teacher pre"):
        weight_classes(teacher_config(), teacher_config(norm="post"), GroupingConfig())


def test_layer_copy_takes_the_first_layer_of_each_subset() -> None:
    teacher = teacher_config()
    student = STUDENTS["small"].of(teacher)
    weights, start = Transformer(teacher).state_dict(), Transformer(student).state_dict()
    copied = copied_weights(teacher, student, weights, start, GroupingConfig())
    role = "self_attention.query.weight"
    torch.testing.assert_close(
        copied[f"decoder.layers.1.{role}"], weights[f"decoder.layers.3.{role}"]
    )
