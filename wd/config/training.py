"""How a model or a generator is trained, and towards what."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from wd.config.shapes import Config, Count, Fraction, PositiveInt

MOST_SEED = 2**32 - 1
"""The number generators take 64 bits, of which the update and the worker take a half."""
Weight = Annotated[float, Field(ge=0, le=1000)]


class TrainingConfig(Config):
    """One training run: of the teacher, of the generator or of a student."""

    updates: PositiveInt = 30_000
    batches_per_update: PositiveInt = 8
    """Batches in one optimiser step, over all workers; best a multiple of their number."""
    learning_rate: Annotated[float, Field(gt=0, le=100)] = 7e-4
    """Peak, reached after the warm-up."""
    initial_learning_rate: Annotated[float, Field(ge=0, le=100)] = 1e-7
    warmup_updates: PositiveInt = 4000
    decay: Literal["inverse_sqrt", "linear", "cosine"] = "inverse_sqrt"
    """Of the rate after the warm-up. `inverse_sqrt`: as published, the same for any number of
    updates. `linear`, `cosine`: to zero at the last update."""
    adam_betas: tuple[Fraction, Fraction] = (0.9, 0.98)
    weight_decay: Annotated[float, Field(ge=0, le=100)] = 0.0
    clip_norm: Annotated[float, Field(gt=0, le=1e6)] | None = None
    label_smoothing: Fraction = 0.1
    dropout: Fraction = 0.1
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto`: bfloat16 where the hardware multiplies it natively, else float32."""
    validate_every: PositiveInt = 1000
    """Updates between validations; each one also writes a checkpoint."""
    log_every: PositiveInt = 100
    """Updates between progress reports."""
    bleu_sentences: Count = 500
    """Validation sentences that are also translated, greedily, for a BLEU; 0: loss only."""
    average_last: PositiveInt = 5
    """The published weights are the mean of this many last checkpoints, or the last one's where
    those validate better."""
    average_best: Count = 0
    """Also try the mean of this many best checkpoints; 0 or 1: the best one."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Validate and publish, in the place of the weights, their exponential moving average with this
    decay per update."""
    best_metric: Literal["loss", "bleu", "chrf"] = "loss"
    """Of the validations: what makes a checkpoint or an average the best."""
    early_stopping: PositiveInt | None = None
    """Stop after this many validations in a row without a better one. What is published is chosen
    as ever, with `average_last` and `average_best`."""
    max_skipped: PositiveInt = 10
    """An update whose gradient is not finite is skipped; so many in a row stop the run."""
    compile: bool = False
    """Train through `torch.compile`."""
    sharding: Literal["none", "full"] = "none"
    """`full`: several workers share a model's weights, gradients and Adam's moments out among them,
    and the weights of a teacher that runs beside it, for models that do not fit one GPU; none of
    the generator's own. Slower: every batch gathers all weights."""
    deterministic: bool = False
    """Use only GPU kernels that sum in a fixed order, so that a run gives the same bits again, and
    a resumed one those of an unbroken one. Slower; the CPU does so anyway."""
    seed: Annotated[int, Field(ge=0, le=MOST_SEED)] = 1

    @model_validator(mode="before")
    @classmethod
    def _from_another_phase(cls, tree: Any) -> Any:
        """Take the values of a config that is not of this phase."""
        if isinstance(tree, TrainingConfig) and not isinstance(tree, cls):
            return tree.model_dump()
        return tree

    @model_validator(mode="after")
    def _check_metric(self) -> Self:
        if self.best_metric != "loss" and not self.bleu_sentences:
            raise ValueError(
                f"best_metric {self.best_metric} needs translations: set bleu_sentences above 0"
            )
        return self


class TeacherTrainingConfig(TrainingConfig):
    """A teacher's."""

    updates: PositiveInt = 100_000


class FineTuningConfig(TrainingConfig):
    """A student's, phase 2: it starts from weights that are nearly right."""

    warmup_updates: PositiveInt = 1000


class ObjectiveConfig(Config):
    """What a student is trained towards, beside label-smoothed cross-entropy on both corpora.

    Both extra terms run the teacher beside the student, which costs a forward pass of it; `word_kd`
    does not where `pseudo.top_k` has its distributions stored.
    """

    word_kd: Weight = 0.0
    """Weight of the Kullback-Leibler divergence from the teacher's word distributions to the
    student's (Hinton et al. 2015), in nats per target piece, times temperature squared."""
    temperature: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Divides the logits of both before `word_kd` compares them."""
    hidden_states: Weight = 0.0
    """Weight of the distance between a student layer's states and those of the last teacher
    layer of its subset: of the states themselves where the widths agree, else of their cosine
    similarities between positions (Tung and Mori 2019), which need no projection. Not with
    `compile`."""

    @property
    def needs_teacher(self) -> bool:
        """Whether the teacher must run beside the student."""
        return self.word_kd > 0 or self.hidden_states > 0
