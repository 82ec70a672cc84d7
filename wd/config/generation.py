"""How the parameter generator groups a teacher's weights, and where its own parameters start."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ModelWrapValidatorHandler, model_validator

from wd.config.shapes import Config, PositiveInt
from wd.config.training import TrainingConfig

Part = Literal["generated", "copied", "fresh"]
"""`generated`: by the transformation. `copied`: trained directly, starting as the teacher's.
`fresh`: trained directly, starting as in an untrained model."""
Map = Literal["input", "output", "layer"]


class GroupingConfig(Config):
    """How teacher layers are gathered into subsets, what they share, and what is learned."""

    sharing: Literal["class", "subset", "stack"] = "class"
    """One set of maps per class (the paper; a bias goes through its weight's output map), per
    student layer (the reference code), or per encoder and decoder: there one layer map, and one map
    per axis (such as the residual stream) for all the weights that read or write it."""
    encoder_subsets: tuple[PositiveInt, ...] | None = None
    """Subset sizes, first layer first; default: as even as can be."""
    decoder_subsets: tuple[PositiveInt, ...] | None = None
    learned_maps: tuple[Map, ...] = ("input", "output", "layer")
    """The others stay as they start."""
    learned_gates: Literal["vectors", "all"] = "vectors"
    """Whose W is learned; B always is. `all`: every class's, as published. `vectors`: biases' and
    norms' only. A matrix's |tanh(T)| is below a tenth, so that its W would move S by so much of
    what B does, at the full cost of a parameter; it stays as it starts."""
    layer_map: Literal["plain", "factored"] = "plain"
    """W_L [K, 1], or the reference code's K x K map before it, which adds no function."""
    width_maps: Literal["changed_classes", "mixing_axes", "changed_axes", "all"] = "changed_classes"
    """Along which axes weights go through a width map. `changed_classes`: all those of the classes
    whose shape or depth changes (the paper). `mixing_axes`: of these, not the inner feed-forward
    axis where it keeps its width, since there the activation acts on every channel alone.
    `changed_axes`: those whose width changes. `all`: those of every class."""
    norms: Part = "generated"
    biases: Part = "generated"
    """Those of linear maps. The words' own (`output_bias`) is copied where these are generated."""
    embeddings: Part = "generated"
    """The tables, the output projection among them."""
    output_projection: Literal["gated", "linear"] = "gated"
    """`linear`: where its width changes, only a width map, without tanh, W and B. A projection that
    is tied to the target embedding is that table, which is gated."""


class InitialisationConfig(Config):
    """Where the generator's parameters start."""

    maps: Literal["xavier", "identity", "svd", "axis"] = "axis"
    """Width maps. `xavier`: random. `identity`: the first channels. `svd`: the best projection of
    the class's stacked weights. `axis`: one projection per axis, the best for all weights that
    read or write it, so that they still fit together. Along an axis that has a map and keeps its
    width, all but `xavier` are the identity."""
    layers: Literal["mean", "first", "middle", "last", "spread"] = "spread"
    """Layer maps: the mean of the subset's layers (1 / K, as published), or one of them. `spread`:
    a layer that lies in its subset as the subset lies in the stack, so the first subset's first and
    the last one's last. A map that several subsets share starts as the first one's; the only
    subset counts as the last one."""
    gate: Literal["reference", "exact", "shift"] = "shift"
    """W and B. `reference`: W starts at 1 and B at 0, so S = tanh(T). `exact`: W at T / tanh(T), so
    that S = T. `shift`: W at 1 and B at T - tanh(T), so that S = T as well. A W of ones that is not
    learned is not stored, which spares a matrix its size in memory and a pass in every step."""


REFERENCE: dict[str, dict[str, Any]] = {
    "grouping": {
        "sharing": "subset",
        "learned_maps": ("input", "output", "layer"),
        "learned_gates": "all",
        "layer_map": "factored",
        "width_maps": "changed_classes",
        **dict.fromkeys(("norms", "biases", "embeddings"), "generated"),
        "output_projection": "linear",
    },
    "initialisation": {"maps": "xavier", "layers": "mean", "gate": "reference"},
}
"""What the paper's published code does."""


class GeneratorConfig(Config):
    """Phase 1: train the parameter generator."""

    preset: Literal["reference"] | None = None
    """`reference` reproduces the paper's published code in whatever is not given here."""
    grouping: GroupingConfig = GroupingConfig()
    initialisation: InitialisationConfig = InitialisationConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="wrap")
    @classmethod
    def _apply_preset(cls, tree: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(tree, dict) or tree.get("preset") != "reference":
            return handler(tree)
        given = {key: _as_tree(tree.get(key)) for key in REFERENCE}
        whole = tree | {
            key: {**values, **given[key]} if isinstance(given[key], dict) else given[key]
            for key, values in REFERENCE.items()
        }
        made = handler(whole)
        for key, values in REFERENCE.items():  # what the preset filled is not given
            getattr(made, key).model_fields_set.difference_update(values.keys() - given[key].keys())
        return made

    def given(self) -> dict[str, Any]:
        """Return the values that neither the defaults nor the preset filled in."""
        return self.model_dump(mode="json", exclude_unset=True)


def _as_tree(section: Any) -> Any:
    """Return what a section says, also where it is an object already."""
    if isinstance(section, BaseModel):
        return section.model_dump(exclude_unset=True)
    return {} if section is None else section
