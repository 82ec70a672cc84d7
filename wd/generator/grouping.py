"""Which teacher weights make which student weights (Lin et al. 2021, section 3.1).

An *instance* is one weight tensor of one layer; a *class* is all instances with the same role in
one stack; a *subset* is a run of adjacent teacher layers that yields one student layer.
"""

import re
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

from wd.config import GroupingConfig, ModelConfig, ModelShape
from wd.errors import ConfigError
from wd.model.sizes import OUTPUT_BIAS, is_bias, tensor_shapes

Stack = Literal["encoder", "decoder"]
STACKS: tuple[Stack, ...] = ("encoder", "decoder")
Shape = tuple[int, ...]
Kind = Literal["matrix", "vector", "gain", "embedding"]
_ALIKE = (
    *("norm", "activation", "biases", "output_bias", "scale_embeddings"),
    *("positions", "first_position", "source_vocabulary", "target_vocabulary"),
)
"""What a student cannot have otherwise than its teacher."""
_LAYER = re.compile(r"(encoder|decoder)\.layers\.(\d+)\.(.+)")


@dataclass(frozen=True)
class WeightClass:
    """The instances of one role, teacher's and student's, in the order of their layers."""

    name: str
    """Such as `decoder.self_attention.query.weight`, or an unlayered weight's own name."""
    kind: Kind
    """`gain`: a norm's; it scales channels, so that a change of basis acts on it differently."""
    axes: tuple[str, ...]
    """What each dimension runs over, such as (`decoder.inner`, `decoder.model`)."""
    teacher: tuple[str, ...]
    student: tuple[str, ...]
    subsets: tuple[int, ...]
    """How many adjacent teacher instances make each student instance; they sum to all of them."""
    teacher_shape: Shape
    student_shape: Shape
    agrees: bool
    """Whether shape and depth agree, so that no maps are needed. Of a bias: whether its weight's
    do, since it goes through its weight's output map."""

    @property
    def key(self) -> str:
        """The name of its module, which may not hold a dot."""
        return self.name.replace(".", "/")

    @property
    def stack(self) -> str:
        """`encoder` or `decoder`: the one whose residual stream or layers it belongs to."""
        return "encoder" if self.name.startswith(("encoder.", "source_")) else "decoder"

    @property
    def part(self) -> str | None:
        """The part of a model that `GroupingConfig` treats apart: norms, biases, embeddings."""
        if self.kind == "embedding":
            return "embeddings"
        if self.kind == "matrix":
            return None
        return "biases" if is_bias(self.name) or self.name == OUTPUT_BIAS else "norms"


def weight_classes(
    teacher: ModelConfig, student: ModelConfig, grouping: GroupingConfig
) -> list[WeightClass]:
    """Sort every student weight into its class.

    Raises ConfigError if the student cannot be generated from this teacher.
    """
    _check_feasible(teacher, student)
    subsets = stack_subsets(teacher, student, grouping)
    teacher_shapes, student_shapes = tensor_shapes(teacher), tensor_shapes(student)
    roles: dict[str, list[str]] = {}
    for name in student_shapes:
        roles.setdefault(_role(name), []).append(name)
    classes = []
    for role, names in roles.items():
        covered: tuple[int, ...] = (1,)
        sources: tuple[str, ...] = (_teacher_table(role, teacher_shapes),)
        if _LAYER.fullmatch(names[0]):
            stack, _, rest = role.partition(".")
            covered = subsets[stack]
            sources = tuple(f"{stack}.layers.{layer}.{rest}" for layer in range(sum(covered)))
        weights = teacher_shapes[weight_of(sources[0])], student_shapes[weight_of(names[0])]
        classes.append(
            WeightClass(
                name=role,
                kind=_kind(role, student_shapes[names[0]]),
                axes=_axes(role, one_stream=student.tied_embeddings == "all"),
                teacher=sources,
                student=tuple(names),
                subsets=covered,
                teacher_shape=teacher_shapes[sources[0]],
                student_shape=student_shapes[names[0]],
                agrees=weights[0] == weights[1] and set(covered) == {1},
            )
        )
    return classes


def weight_of(name: str) -> str:
    """Return the weight to whose outputs a bias is added; of anything else its own name."""
    return name.removesuffix("bias") + "weight" if is_bias(name) else name


def stack_subsets(
    teacher: ModelConfig, student: ModelConfig, grouping: GroupingConfig
) -> dict[str, tuple[int, ...]]:
    """Return the subset sizes of both stacks; raises ConfigError as `subset_sizes` does."""
    return {
        stack: subset_sizes(stack, teacher, student, getattr(grouping, f"{stack}_subsets"))
        for stack in STACKS
    }


def subset_sizes(
    stack: str, teacher: ModelShape, student: ModelShape, given: tuple[int, ...] | None
) -> tuple[int, ...]:
    """Return one size per student layer; together they cover every teacher layer once.

    Without `given` the sizes differ by at most one, the larger ones first. Raises ConfigError
    if the student is deeper than the teacher or `given` does not fit.
    """
    many, few = getattr(teacher, stack).layers, getattr(student, stack).layers
    if few > many:
        raise ConfigError(
            f"{stack}.layers: a student of {few} layers cannot be generated from a teacher of "
            f"{many}: each student layer needs at least one teacher layer of its own"
        )
    if given is None:
        size, larger = divmod(many, few)
        return (size + 1,) * larger + (size,) * (few - larger)
    if len(given) != few or sum(given) != many:
        raise ConfigError(
            f"{stack}_subsets: {list(given)} are {len(given)} subsets of {sum(given)} layers in "
            f"all, but the student has {few} layers and the teacher {many}"
        )
    return given


def subset_bounds(subsets: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return each subset's first teacher layer and the one after its last."""
    return list(pairwise(accumulate(subsets, initial=0)))


def _check_feasible(teacher: ModelConfig, student: ModelConfig) -> None:
    for rule in _ALIKE:
        theirs, ours = getattr(teacher, rule), getattr(student, rule)
        if theirs != ours:
            raise ConfigError(
                f"{rule}: the student has {ours} and its teacher {theirs}; weight distillation "
                "needs the same"
            )

    widths = teacher.encoder.d_model, teacher.decoder.d_model
    if student.tied_embeddings == "all" and widths[0] != widths[1]:
        raise ConfigError(
            "tied_embeddings: the student's one table serves both stacks, so both must come from "
            f"one width, but the teacher's encoder has d_model {widths[0]} and its decoder "
            f"{widths[1]}"
        )


def _role(name: str) -> str:
    layered = _LAYER.fullmatch(name)
    return f"{layered[1]}.{layered[3]}" if layered else name


def _kind(role: str, shape: Shape) -> Kind:
    if role.endswith(("_embedding.weight", "output_projection.weight")):
        return "embedding"
    if role.endswith("norm.weight"):
        return "gain"
    return "matrix" if len(shape) == 2 else "vector"


def _axes(role: str, one_stream: bool) -> tuple[str, ...]:
    """Return a role's axes: outputs first, as in the weight's shape.

    Where one table serves both stacks (`one_stream`), so must one basis.
    """
    axes = _stack_axes(role)
    if not one_stream:
        return axes
    return tuple("model" if axis.endswith(".model") else axis for axis in axes)


def _stack_axes(role: str) -> tuple[str, ...]:
    if role.endswith("embedding.weight") or role == "output_projection.weight":
        stack = "encoder" if role.startswith("source") else "decoder"
        return ("vocabulary", f"{stack}.model")
    if role == OUTPUT_BIAS:
        return ("vocabulary",)
    stack, *block, module, tensor = role.split(".")
    stream = f"{stack}.model"
    if module.endswith("norm"):
        return (stream,)
    name = ".".join([stack, *block])
    ends = {
        "query": (f"{name}.queries", stream),
        "key": (f"{name}.queries", stream),
        "value": (f"{name}.values", stream),
        "output": (stream, f"{name}.values"),
        "inner": (f"{stack}.inner", stream),
        "outer": (stream, f"{stack}.inner"),
    }[module]
    if "cross_attention" in block and module in ("key", "value"):
        ends = (ends[0], "encoder.model")
    return ends[:1] if tensor == "bias" else ends


def _teacher_table(name: str, teacher_shapes: dict[str, Shape]) -> str:
    """Return the teacher's weight for an unlayered role, following the teacher's ties."""
    fallbacks = {
        "output_projection.weight": "target_embedding.weight",
        "target_embedding.weight": "source_embedding.weight",
    }
    while name in fallbacks and name not in teacher_shapes:
        name = fallbacks[name]
    return name
