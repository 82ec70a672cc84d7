"""Whatever the shapes and choices: a feasible student is generated and learns, others are told."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import functional_call

from wd.config import GeneratorConfig, ModelConfig, validated
from wd.data.schema import PAD
from wd.errors import ConfigError
from wd.generator.directory import save_generator
from wd.generator.generator import ParameterGenerator
from wd.model.directory import load_weights
from wd.model.sizes import tensor_shapes
from wd.model.transformer import Transformer
from wd.training.loss import cross_entropy

PIECES = 11
PARTS = st.sampled_from(["generated", "copied", "fresh"])
WIDTH_MAPS = st.sampled_from(["changed_axes", "mixing_axes", "changed_classes", "all"])


@st.composite
def stacks(draw: st.DrawFn) -> dict[str, int]:
    heads = draw(st.sampled_from([1, 2, 3]))
    return {
        "layers": draw(st.integers(1, 4)),
        "heads": heads,
        "d_model": heads * draw(st.integers(1, 4)) + draw(st.sampled_from([0, 0, 0, 1])),
        "feed_forward": draw(st.integers(1, 9)),
    }


@st.composite
def models(draw: st.DrawFn) -> dict[str, Any]:
    encoder = draw(stacks())
    return {
        "encoder": encoder,
        "decoder": draw(st.one_of(st.just(encoder), stacks())),
        "norm": draw(st.sampled_from(["pre", "post"])),
        "tied_embeddings": draw(st.sampled_from(["none", "decoder", "all"])),
        "biases": draw(st.booleans()),
        "activation": draw(st.sampled_from(["relu", "gelu"])),
        "source_vocabulary": PIECES,
        "target_vocabulary": PIECES,
    }


@st.composite
def pairs(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """A teacher, and a student that mostly can be generated from it."""
    teacher, student = draw(models()), draw(models())
    if draw(st.integers(0, 5)):
        student |= {key: teacher[key] for key in ("norm", "biases", "activation")}
        for stack in ("encoder", "decoder"):
            layers = min(student[stack]["layers"], teacher[stack]["layers"])
            student[stack] = {**student[stack], "layers": layers}
    for stack in ("encoder", "decoder"):
        if draw(st.booleans()):
            student[stack] = teacher[stack]
    return teacher, student


GENERATORS = st.fixed_dictionaries(
    {
        "grouping": st.fixed_dictionaries(
            {
                "sharing": st.sampled_from(["class", "subset", "stack"]),
                "learned_maps": st.sets(st.sampled_from(["input", "output", "layer"])).map(sorted),
                "learned_gates": st.sampled_from(["vectors", "all"]),
                "layer_map": st.sampled_from(["plain", "factored"]),
                "width_maps": WIDTH_MAPS,
                "output_projection": st.sampled_from(["gated", "linear"]),
                "norms": PARTS,
                "biases": PARTS,
                "embeddings": PARTS,
            },
            optional={
                f"{stack}_subsets": st.lists(st.integers(1, 3), min_size=1, max_size=3)
                for stack in ("encoder", "decoder")
            },
        ),
        "initialisation": st.fixed_dictionaries(
            {
                "maps": st.sampled_from(["xavier", "identity", "svd", "axis"]),
                "layers": st.sampled_from(["mean", "first", "middle", "last", "spread"]),
                "gate": st.sampled_from(["reference", "exact"]),
            }
        ),
    }
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(shapes=pairs(), choices=GENERATORS)
def test_generates_round_trips_and_learns_or_says_why_not(
    shapes: tuple[dict[str, Any], dict[str, Any]], choices: dict[str, Any]
) -> None:
    torch.manual_seed(1)
    try:
        teacher, student = (validated(ModelConfig, shape, "shape") for shape in shapes)
        config = validated(GeneratorConfig, choices, "generator")
        weights = Transformer(teacher).state_dict()
        generator = ParameterGenerator(teacher, student, weights, config)
    except ConfigError as refusal:
        told = str(refusal)
    else:
        event("feasible")
        check_generates(generator)
        check_round_trip(generator, weights, teacher, config)
        check_learns(generator)
        return
    assert any(word in told for word in ("heads", "one width", "student", "subsets", "copied")), (
        told
    )


def check_generates(generator: ParameterGenerator) -> None:
    generated = generator.materialize()
    assert {name: tuple(one.shape) for name, one in generated.items()} == tensor_shapes(
        generator.student
    )
    assert all(one.isfinite().all() for one in generated.values())


def check_round_trip(
    generator: ParameterGenerator,
    weights: dict[str, Tensor],
    teacher: ModelConfig,
    config: GeneratorConfig,
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_generator(folder, generator.state_dict(), generator.student, config, "teacher")
        state = load_weights(folder / "generator.safetensors")
    rebuilt = ParameterGenerator(teacher, generator.student, weights, config)
    rebuilt.load_state_dict(state)
    again = rebuilt.materialize()
    for weight, value in generator.materialize().items():
        assert torch.equal(again[weight], value)


def check_learns(generator: ParameterGenerator) -> None:
    """A short enough step against the gradient lowers the loss on the same batch."""
    generator.double()
    model = Transformer(generator.student).double()
    ids = torch.arange(12).reshape(2, 6) % (PIECES - PAD - 1) + PAD + 1

    def loss() -> Tensor:
        return cross_entropy(functional_call(model, generator.materialize(), (ids, ids)), ids, 0.1)

    before = loss()
    learned = [one for one in generator.parameters() if one.requires_grad]
    gradients = torch.autograd.grad(before, learned)  # it raises if anything is not used
    norm = sum(float(one.square().sum()) for one in gradients) ** 0.5
    assert norm > 0
    for step in (1e-2, 1e-3, 1e-4, 1e-5):
        with torch.no_grad():
            for parameter, gradient in zip(learned, gradients, strict=True):
                parameter -= step / norm * gradient
            if loss() < before:
                return
            for parameter, gradient in zip(learned, gradients, strict=True):
                parameter += step / norm * gradient
    raise AssertionError("no step along the gradient lowers the loss")
