"""How a model or a generator is trained, and towards what."""

from typing import Annotated, Literal

from pydantic import Field

from wd.config.shapes import Config, Fraction, PositiveInt


class TrainingConfig(Config):
    """One training run: of the teacher, of the generator or of a student."""

    updates: PositiveInt = 30_000
    batches_per_update: PositiveInt = 8
    """Batches in one optimiser step, over all workers; the workers must divide it."""
    learning_rate: Annotated[float, Field(gt=0)] = 7e-4
    """Peak, reached after the warm-up."""
    initial_learning_rate: Annotated[float, Field(ge=0)] = 1e-7
    warmup_updates: PositiveInt = 4000
    adam_betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    label_smoothing: Fraction = 0.1
    dropout: Fraction = 0.1
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto`: bfloat16 where the hardware multiplies it natively, else float32."""
    validate_every: PositiveInt = 1000
    """Updates between validations; each one also writes a checkpoint."""
    log_every: PositiveInt = 100
    """Updates between progress reports."""
    bleu_sentences: Annotated[int, Field(ge=0)] = 500
    """Validation sentences that are also translated, greedily, for a BLEU; 0: loss only."""
    average_last: PositiveInt = 5
    """The published weights are the mean of this many last checkpoints, or the last one's where
    those have the lower validation loss."""
    seed: int = 1


class ObjectiveConfig(Config):
    """What a student is trained towards, beside label-smoothed cross-entropy on both corpora.

    Both extra terms run the teacher beside the student, which costs a forward pass of it.
    """

    word_kd: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight of the Kullback-Leibler divergence from the teacher's word distributions to the
    student's (Hinton et al. 2015), in nats per target piece, times temperature squared."""
    temperature: Annotated[float, Field(gt=0.0)] = 1.0
    """Divides the logits of both before `word_kd` compares them."""
    hidden_states: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight of the distance between a student layer's states and those of the last teacher
    layer of its subset: of the states themselves where the widths agree, else of their cosine
    similarities between positions (Tung and Mori 2019), which need no projection."""

    @property
    def needs_teacher(self) -> bool:
        """Whether the teacher must run beside the student."""
        return self.word_kd > 0 or self.hidden_states > 0
