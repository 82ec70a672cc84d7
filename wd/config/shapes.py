"""Model shapes: what a teacher or a student looks like, and which shapes are possible."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

MOST = 1_000_000_000
"""Of whatever is counted: more is a slip of the keyboard."""
PositiveInt = Annotated[int, Field(ge=1, le=MOST)]
Count = Annotated[int, Field(ge=0, le=MOST)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Layers = Annotated[int, Field(ge=1, le=1000)]
Heads = Annotated[int, Field(ge=1, le=4096)]
Width = Annotated[int, Field(ge=1, le=1_000_000)]
Vocabulary = Annotated[int, Field(ge=1, le=1_000_000)]
"""In pieces."""


class Config(BaseModel):
    """Base of all configuration: frozen, strict about unknown keys and about kinds of values.

    `true` is no number and 1 no truth; a whole number may stand for any number.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        serialize_by_alias=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _lists_are_tuples(cls, value: Any) -> Any:
        return _as_tuple(value)

    def without(self, *keys: str) -> Self:
        """Return a copy with these keys at their defaults: they are not to count."""
        defaults = {key: type(self).model_fields[key].get_default() for key in keys}
        return self.model_copy(update=defaults)


def _as_tuple(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_tuple(each) for key, each in value.items()}
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


class StackShape(Config):
    """One stack (encoder or decoder) of a Transformer."""

    layers: Layers = 6
    d_model: Width = 512
    """Width of the residual stream."""
    heads: Heads = 8
    feed_forward: Width = 2048
    """Inner width of the feed-forward block."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.d_model % self.heads:
            raise ValueError(
                f"heads must divide d_model, but {self.d_model} / {self.heads} leaves "
                f"{self.d_model % self.heads}"
            )
        return self


class ModelShape(Config):
    """Everything about a model except its vocabularies."""

    encoder: StackShape = StackShape()
    decoder: StackShape = StackShape()
    norm: Literal["pre", "post"] = "post"
    """Layer norm before each block (pre, with a final norm per stack) or after it (post)."""
    activation: Literal["relu", "gelu", "silu"] = "relu"
    """Between the feed-forward maps; `silu` is also called swish."""
    tied_embeddings: Literal["none", "decoder", "all"] = "none"
    """`none`: three tables; `decoder`: target embedding = output projection; `all`: one table."""
    biases: bool = True
    """Whether linear maps have biases; the output projection's is `output_bias`."""
    output_bias: bool = False
    """Whether a learned number per word is added to the logits."""
    scale_embeddings: bool = True
    """Whether a piece's embedding is multiplied by the square root of its width."""
    positions: Literal["tensor2tensor", "paper"] = "tensor2tensor"
    """The rates of the sinusoids that tell positions: from 1 to 1/10000, as tensor2tensor, fairseq
    and Marian have them; or 10000^(-2i/width), as the Transformer's paper and Hugging Face do."""
    first_position: Annotated[int, Field(ge=0, le=1000)] = 0
    """The number of a sentence's first position; fairseq counts from 2."""

    @model_validator(mode="after")
    def _one_table_needs_one_width(self) -> Self:
        if self.tied_embeddings == "all" and self.encoder.d_model != self.decoder.d_model:
            raise ValueError(
                "tied_embeddings: all needs one width, but encoder.d_model is "
                f"{self.encoder.d_model} and decoder.d_model is {self.decoder.d_model}; "
                "use tied_embeddings: decoder"
            )
        return self


_LATER = ("output_bias", "scale_embeddings", "positions", "first_position")


class ModelConfig(ModelShape):
    """A complete model: its shape and its vocabulary sizes (in pieces)."""

    source_vocabulary: Vocabulary
    target_vocabulary: Vocabulary

    @model_validator(mode="after")
    def _one_table_needs_one_vocabulary(self) -> Self:
        if self.tied_embeddings == "all" and self.source_vocabulary != self.target_vocabulary:
            raise ValueError(
                "tied_embeddings: all needs a joint vocabulary, but the source has "
                f"{self.source_vocabulary} pieces and the target {self.target_vocabulary}"
            )
        return self

    @model_serializer(mode="wrap")
    def _as_ever(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what shapes have not always had, where it is not used: bytes stay the same."""
        tree: dict[str, Any] = handler(self)
        for key in _LATER:
            if tree.get(key) == type(self).model_fields[key].default:
                del tree[key]
        return tree


class StackOverride(Config):
    """What a student's stack changes; whatever is absent stays as in the teacher."""

    layers: Layers | None = None
    d_model: Width | None = None
    heads: Heads | None = None
    feed_forward: Width | None = None


class StudentShape(Config):
    """A student, told as its differences from the teacher."""

    encoder: StackOverride = StackOverride()
    decoder: StackOverride = StackOverride()
    tied_embeddings: Literal["none", "decoder", "all"] | None = None

    def of(self, teacher: ModelShape) -> ModelShape:
        """Return the student's full shape for this teacher.

        Raises pydantic's ValidationError where the result breaks a rule of `ModelShape`.
        """
        changes = self.model_dump(exclude_none=True)
        shape = teacher.model_dump()
        for stack in ("encoder", "decoder"):
            shape[stack] |= changes.pop(stack)
        return type(teacher).model_validate(shape | changes)
