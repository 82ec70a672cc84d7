"""The recipe: one frozen object that says everything a pipeline run depends on.

Defaults are the published reference hyper-parameters, so a recipe states only its differences.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from wd.config.generation import GeneratorConfig
from wd.config.shapes import (
    Config,
    Fraction,
    ModelConfig,
    ModelShape,
    PositiveInt,
    StackOverride,
    StudentShape,
)
from wd.config.training import ObjectiveConfig, TrainingConfig

Name = Annotated[str, Field(pattern=r"^[^\s./\\:@][^/\\:@]*$")]
"""Part of the names of folders and of registered models."""
Method = Literal["scratch", "kd", "copy", "wd"]
"""How a student is made; all get equal updates in total."""
_START = ("learning_rate", "initial_learning_rate", "warmup_updates")
"""What a training's first updates depend on."""


class FilterConfig(Config):
    """Which sentence pairs are dropped.

    Words are separated by white space; where the script has none (Chinese, Japanese, Thai), two
    characters count as a word.
    """

    min_words: PositiveInt = 1
    """A pair is dropped if both sides have fewer."""
    max_words: PositiveInt = 250
    """A pair is dropped if either side has more."""
    max_ratio: Annotated[float, Field(ge=1.0)] = 4.0
    """Longest allowed ratio between the sides' lengths in characters (short pairs are exempt).
    A character of a script without spaces counts as three."""
    drop_identical: bool = True
    """Drop pairs whose target is the source."""
    drop_duplicates: bool = True
    """Drop exact repetitions of a pair."""


Column = Annotated[str, Field(coerce_numbers_to_str=True)]
Quantization = Literal["float32", "float16", "bfloat16", "int8"]
HALF_PRECISION = ("float16", "bfloat16")
"""The quantizations that run on a GPU only."""
MAX_POSITIONS = 1024
"""Pieces in the longest sentence, source or target, that a converted model can handle."""


class CorpusConfig(Config):
    """Where the parallel text comes from and how it is split.

    Each entry of `train`, `valid` and `test` is a file name below `dir`. A name that holds
    `{lang}` stands for two aligned plain text files, one per language; otherwise the ending
    tells the format: `.tsv`, `.parquet`, `.po`, `.mo`, or `.whl` (all message catalogs in a
    Python wheel). Any text file may be gzipped (`.gz`, added to the name or found beside it).
    """

    dir: str | None = None
    train: tuple[str, ...] = ()
    valid: tuple[str, ...] = ()
    """Files to validate on; without them, `valid_fraction` of `train` is held out."""
    test: tuple[str, ...] = ()
    """Files to test on; without them, `test_fraction` of `train` is held out."""
    valid_fraction: Fraction = 0.01
    test_fraction: Fraction = 0.01
    packages: tuple[str, ...] = ()
    """Wheels to fetch from the package index: `NAME==VERSION --hash=sha256:DIGEST`."""
    source_column: Column = "source"
    """Column of Parquet or TSV (by header name, or by number from 0)."""
    target_column: Column = "target"
    hint: str = ""
    """What to tell a user who has no data yet: what to get, where from, where to put it."""
    filters: FilterConfig = FilterConfig()
    part_pairs: PositiveInt = 100_000
    """Sentence pairs per part file: the unit of parallel work."""


class TokenizerConfig(Config):
    """SentencePiece."""

    vocabulary_size: PositiveInt = 32_700
    joint: bool = True
    """One model over both languages, or one each."""
    model_type: Literal["bpe", "unigram"] = "bpe"
    character_coverage: Annotated[float, Field(gt=0.9, le=1.0)] = 1.0
    training_sentences: PositiveInt = 2_000_000
    """At most this many sentences (per side) are read to train it."""


class ShardsConfig(Config):
    """Token-budget batches."""

    batch_tokens: PositiveInt = 4096
    """A batch holds at most this many tokens per side, padding included."""
    max_length: PositiveInt = 250
    """Longer sentences (in pieces, end marker included) are left out of training."""


class TeacherConfig(Config):
    """The teacher."""

    shape: ModelShape = ModelShape()
    training: TrainingConfig = TrainingConfig(updates=100_000)


class DecodingConfig(Config):
    """How text is translated."""

    beam_size: Annotated[int, Field(ge=1, le=64)] = 6
    """Hypotheses that go on at each step; 1 is greedy."""
    length_penalty: Annotated[float, Field(ge=0.0, le=5.0)] = 1.0
    """Hypotheses are ranked by log-probability over length to this power; 0 favours short ones."""
    max_length: Annotated[int, Field(ge=1, le=MAX_POSITIONS)] = 256
    """Pieces in the longest translation, end marker included; a longer one is cut, and counted."""
    batch_tokens: Annotated[int, Field(ge=1, le=500_000)] = 4096
    """Source pieces that are decoded at once."""
    quantization: Quantization = "float32"
    """How weights are held while decoding; float16 and bfloat16 need a GPU."""


class PseudoConfig(DecodingConfig):
    """Sequence-level knowledge distillation: the teacher translates the training sources."""

    drop_loops: bool = True
    """Do not train on translations that go round in circles or outgrow their source: of 20 pieces
    or more, with under three different ones in ten, or over three times as many as the source."""


class EvaluationConfig(DecodingConfig):
    """How the models are compared on the test set."""

    speed_repeats: Annotated[int, Field(ge=1, le=1000)] = 3
    """Timed translations of the test set per model, taken in turn; the median counts."""


class TrackingConfig(Config):
    """MLflow."""

    uri: str | None = None
    """A server's address; default: the environment's MLFLOW_TRACKING_URI, else a SQLite file below
    the artifact root."""
    experiment: str = "weight-distillation"


class RegistryConfig(Config):
    """MLflow's model registry."""

    name: Annotated[str, Field(pattern="^[^/:@]+$")] | None = None
    """Registered model; default: RECIPE-STUDENT."""
    alias: Annotated[str, Field(pattern="^[A-Za-z][A-Za-z0-9_-]*$")] = "champion"
    min_bleu: float = 0.0
    """A student below this test BLEU is registered, but does not get the alias."""


class RayConfig(Config):
    """Where and how wide the work runs. It changes no result, so no artifact depends on it."""

    address: str | None = None
    """A running cluster; default: the one this job runs on, else a local one."""
    workers: Annotated[int, Field(ge=0)] = 1
    """Training workers; 0 trains in the calling process."""
    min_workers: PositiveInt | None = None
    """Go on with as few when nodes are lost, and with more when they come back; default: wait for
    all."""
    cpus_per_worker: Annotated[float, Field(gt=0)] = 1.0
    """CPUs (and threads) of a training worker."""
    map_cpus: Annotated[float, Field(gt=0)] = 1.0
    """CPUs (and threads) of a data task or a decoding actor."""
    gpu: bool = False
    """One GPU per training worker and per decoding actor."""
    max_failures: int = 3
    """Restarts of a training run after lost workers."""
    object_store_memory: PositiveInt = 500_000_000
    """Bytes, for a cluster that the run starts itself."""

    @model_validator(mode="after")
    def _check_workers(self) -> Self:
        if self.workers and self.min_workers and self.min_workers > self.workers:
            raise ValueError(f"min_workers {self.min_workers} is more than workers {self.workers}")
        return self


def _paper_students() -> dict[str, StudentShape]:
    """Return the paper's students of the base teacher (section 4, Model Setup)."""
    return {
        "tiny": StudentShape(decoder=StackOverride(layers=1, d_model=256, feed_forward=1024)),
        "small": StudentShape(decoder=StackOverride(layers=2)),
    }


class Recipe(Config):
    """A whole pipeline: corpus to registry."""

    name: Name
    """Also of its artifacts' folders."""
    source_language: str
    target_language: str
    root: Annotated[str, Field(min_length=1)] = "artifacts"
    """Where artifacts go: a folder that all nodes share, or an s3:// or gs:// address; then what is
    being made, and what is read, is below XDG_CACHE_HOME, which they must share instead."""
    corpus: CorpusConfig = CorpusConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    shards: ShardsConfig = ShardsConfig()
    teacher: TeacherConfig = TeacherConfig()
    pseudo: PseudoConfig = PseudoConfig()
    students: dict[Name, StudentShape] = Field(default_factory=_paper_students)
    student: str = "tiny"
    """The student to make."""
    generator: GeneratorConfig = GeneratorConfig()
    fine_tuning: TrainingConfig = TrainingConfig(warmup_updates=1000)
    """Phase 2."""
    objective: ObjectiveConfig = ObjectiveConfig()
    """Of both phases, and of the baselines that they are compared with."""
    evaluation: EvaluationConfig = EvaluationConfig()
    tracking: TrackingConfig = TrackingConfig()
    registry: RegistryConfig = RegistryConfig()
    ray: RayConfig = RayConfig()

    @model_validator(mode="after")
    def _student_exists_and_fits(self) -> Self:
        if self.student not in self.students:
            known = ", ".join(sorted(self.students))
            raise ValueError(f"student: {self.student} is not defined; the recipe has {known}")
        for name, student in self.students.items():
            try:
                student.of(self.teacher.shape)
            except ValidationError as error:
                reasons = (problem["msg"] for problem in error.errors(include_url=False))
                told = "; ".join(reason.removeprefix("Value error, ") for reason in reasons)
                raise ValueError(f"students.{name}: {told}") from None
        return self

    @model_validator(mode="after")
    def _one_table_needs_one_tokenizer(self) -> Self:
        shapes = {"teacher.shape": self.teacher.shape} | {
            f"students.{name}": student.of(self.teacher.shape)
            for name, student in self.students.items()
        }
        for key, shape in shapes.items():
            if shape.tied_embeddings == "all" and not self.tokenizer.joint:
                raise ValueError(
                    f"{key}.tied_embeddings: all needs one vocabulary for both languages; set "
                    "tokenizer.joint: true, or tie less"
                )
        return self

    @model_validator(mode="after")
    def _half_precision_needs_a_gpu(self) -> Self:
        for key, decoding in {"pseudo": self.pseudo, "evaluation": self.evaluation}.items():
            if decoding.quantization in HALF_PRECISION and not self.ray.gpu:
                raise ValueError(
                    f"{key}.quantization: {decoding.quantization} does not run on a CPU; use "
                    "float32 or int8, or set ray.gpu: true where there is a GPU"
                )
        return self

    @model_validator(mode="after")
    def _compiled_layers_tell_no_states(self) -> Self:
        compiled = self.generator.training.compile or self.fine_tuning.compile
        if compiled and self.objective.hidden_states:
            raise ValueError(
                "objective.hidden_states needs layers that tell their states, which compiled ones "
                "do not: leave it at 0, or set compile: false in generator.training and fine_tuning"
            )
        return self

    def model(self, shape: ModelShape) -> ModelConfig:
        """Return `shape` completed with the recipe's vocabulary sizes."""
        size = self.tokenizer.vocabulary_size
        return ModelConfig(**shape.model_dump(), source_vocabulary=size, target_vocabulary=size)

    @property
    def teacher_model(self) -> ModelConfig:
        """The teacher with its vocabularies."""
        return self.model(self.teacher.shape)

    @property
    def student_model(self) -> ModelConfig:
        """The selected student with its vocabularies."""
        return self.model(self.students[self.student].of(self.teacher.shape))

    def student_training(self, method: Method) -> TrainingConfig:
        """Return how a student is trained: equal updates in total for all methods.

        A generated student has had phase 1, so it is trained as `fine_tuning` says. So are the
        others, but for both phases' updates, and with the rate and the warm-up of phase 1.
        """
        if method == "wd":
            return self.fine_tuning
        first, last = self.generator.training, self.fine_tuning
        changes = {key: getattr(first, key) for key in _START} | {
            "updates": first.updates + last.updates
        }
        return last.model_copy(update=changes)
