"""Model shapes: what a teacher or a student looks like, and which shapes are possible."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

PositiveInt = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]


class Config(BaseModel):
    """Base of all configuration: frozen, and strict about unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    def without(self, *keys: str) -> Self:
        """Return a copy with these keys at their defaults: they are not to count."""
        defaults = {key: type(self).model_fields[key].get_default() for key in keys}
        return self.model_copy(update=defaults)


class StackShape(Config):
    """One stack (encoder or decoder) of a Transformer."""

    layers: PositiveInt = 6
    d_model: PositiveInt = 512
    """Width of the residual stream."""
    heads: PositiveInt = 8
    feed_forward: PositiveInt = 2048
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
    activation: Literal["relu", "gelu"] = "relu"
    tied_embeddings: Literal["none", "decoder", "all"] = "none"
    """`none`: three tables; `decoder`: target embedding = output projection; `all`: one table."""
    biases: bool = True
    """Whether linear maps have biases (the output projection never has one)."""

    @model_validator(mode="after")
    def _one_table_needs_one_width(self) -> Self:
        if self.tied_embeddings == "all" and self.encoder.d_model != self.decoder.d_model:
            raise ValueError(
                "tied_embeddings: all needs one width, but encoder.d_model is "
                f"{self.encoder.d_model} and decoder.d_model is {self.decoder.d_model}; "
                "use tied_embeddings: decoder"
            )
        return self


class ModelConfig(ModelShape):
    """A complete model: its shape and its vocabulary sizes (in pieces)."""

    source_vocabulary: PositiveInt
    target_vocabulary: PositiveInt

    @model_validator(mode="after")
    def _one_table_needs_one_vocabulary(self) -> Self:
        if self.tied_embeddings == "all" and self.source_vocabulary != self.target_vocabulary:
            raise ValueError(
                "tied_embeddings: all needs a joint vocabulary, but the source has "
                f"{self.source_vocabulary} pieces and the target {self.target_vocabulary}"
            )
        return self


class StackOverride(Config):
    """What a student's stack changes; whatever is absent stays as in the teacher."""

    layers: PositiveInt | None = None
    d_model: PositiveInt | None = None
    heads: PositiveInt | None = None
    feed_forward: PositiveInt | None = None


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
