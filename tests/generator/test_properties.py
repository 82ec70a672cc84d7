"""Whatever the shapes and choices: a feasible student is generated and learns, others are told."""

import re
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
STACKS = ("encoder", "decoder")
PARTS = ("norms", "biases", "embeddings")
ORIGINS = st.sampled_from(["generated", "copied", "fresh"])
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


ALIKE = ("norm", "biases", "output_bias", "activation")
"""What a student has as its teacher has it."""


@st.composite
def models(draw: st.DrawFn) -> dict[str, Any]:
    encoder = draw(stacks())
    return {
        "encoder": encoder,
        "decoder": draw(st.one_of(st.just(encoder), stacks())),
        "norm": draw(st.sampled_from(["pre", "post"])),
        "tied_embeddings": draw(st.sampled_from(["none", "decoder", "all"])),
        "biases": draw(st.booleans()),
        "output_bias": draw(st.booleans()),
        "activation": draw(st.sampled_from(["relu", "gelu", "silu"])),
        "source_vocabulary": PIECES,
        "target_vocabulary": PIECES,
    }


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
                "norms": ORIGINS,
                "biases": ORIGINS,
                "embeddings": ORIGINS,
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
                "gate": st.sampled_from(["reference", "exact", "shift"]),
            }
        ),
    }
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """A teacher, a student and choices, of which most go together."""
    teacher, student, choices = draw(models()), draw(models()), draw(GENERATORS)
    for stack in STACKS:
        if draw(st.booleans()):
            student[stack] = teacher[stack]
    if draw(st.integers(0, 3)):
        mend(teacher, student, choices["grouping"])
    return teacher, student, choices


def mend(teacher: dict[str, Any], student: dict[str, Any], grouping: dict[str, Any]) -> None:
    """Change as little as makes the student possible."""
    student |= {key: teacher[key] for key in ALIKE}
    for model in (teacher, student):
        for stack, shape in ((stack, model[stack]) for stack in STACKS):
            width = shape["d_model"] - shape["d_model"] % shape["heads"]
            layers = min(shape["layers"], teacher[stack]["layers"])
            model[stack] = {**shape, "d_model": width, "layers": layers}
    for model in (teacher, student):
        if not (one_width(model) and one_width(teacher)) and model["tied_embeddings"] == "all":
            model["tied_embeddings"] = "decoder"
    for stack in STACKS:
        many, few = teacher[stack]["layers"], student[stack]["layers"]
        if f"{stack}_subsets" in grouping:
            grouping[f"{stack}_subsets"] = [1] * (few - 1) + [many - few + 1]
    for part in PARTS:
        if refuses_copy(teacher, student, part):
            grouping[part] = "generated"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases())
def test_generates_round_trips_and_learns_or_says_why_not(
    case: tuple[dict[str, Any], dict[str, Any], dict[str, Any]],
) -> None:
    torch.manual_seed(1)
    *shapes, choices = case
    told = ""
    try:
        teacher, student = (validated(ModelConfig, shape, "shape") for shape in shapes)
        config = validated(GeneratorConfig, choices, "generator")
        weights = Transformer(teacher).state_dict()
        generator = ParameterGenerator(teacher, student, weights, config)
    except ConfigError as refusal:
        told = str(refusal)
    due = refusals(*shapes, choices["grouping"])
    assert bool(told) == bool(due), (told, due)
    if told:
        assert any(re.search(rule, told) for rule in due), (told, due)
        return
    event("feasible")
    check_generates(generator)
    check_round_trip(generator, weights, teacher, config)
    check_learns(generator)


def refusals(
    teacher: dict[str, Any], student: dict[str, Any], grouping: dict[str, Any]
) -> list[str]:
    """Return what the messages may say, one pattern per rule that is broken; told independently."""
    broken = []
    for model in (teacher, student):
        if any(model[stack]["d_model"] % model[stack]["heads"] for stack in STACKS):
            broken.append("heads must divide d_model")
        if model["tied_embeddings"] == "all" and not one_width(model):
            broken.append("tied_embeddings: all needs one width")
    if student["tied_embeddings"] == "all" and not one_width(teacher):
        broken.append("one table serves both stacks")
    broken += [f"{rule}: the student has" for rule in ALIKE if teacher[rule] != student[rule]]
    for stack in STACKS:
        many, few = teacher[stack]["layers"], student[stack]["layers"]
        if few > many:
            broken.append(f"{stack}.layers: a student of {few} layers")
        sizes = grouping.get(f"{stack}_subsets")
        if sizes and (len(sizes), sum(sizes)) != (few, many):
            broken.append(f"{stack}_subsets: ")
    broken += [
        rf"grouping\.{part}: .* cannot be copied"
        for part in PARTS
        if grouping[part] == "copied" and refuses_copy(teacher, student, part)
    ]
    return broken


def refuses_copy(teacher: dict[str, Any], student: dict[str, Any], part: str) -> bool:
    """Whether some weight of a part has another shape in the student."""
    keys = ["d_model", "feed_forward"] if part == "biases" else ["d_model"]
    differs = any(teacher[stack][key] != student[stack][key] for stack in STACKS for key in keys)
    return differs and (part != "biases" or teacher["biases"])


def one_width(model: dict[str, Any]) -> bool:
    return model["encoder"]["d_model"] == model["decoder"]["d_model"]


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
