"""The recipe: one frozen object that says everything a pipeline run depends on.

Defaults are the published reference hyper-parameters, so a recipe states only its differences.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

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
from wd.language_codes import same_language

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


SPECIAL_PIECES = ("<pad>", "<unk>", "<s>", "</s>")
"""The special tokens' spelling, in the order of their ids."""
BYTE_PIECES = tuple(f"<0x{byte:02X}>" for byte in range(256))
"""What SentencePiece calls the pieces that stand for one byte each."""
VocabularySize = Annotated[int, Field(ge=1, le=10_000_000)]


class TokenizerConfig(Config):
    """SentencePiece."""

    vocabulary_size: VocabularySize = 32_700
    """Pieces of the joint model, or of each side's."""
    target_vocabulary_size: VocabularySize | None = None
    """Pieces of the target's model, if they are not as many as the source's (`joint: false`)."""
    joint: bool = True
    """One model over both languages, or one each."""
    model_type: Literal["bpe", "unigram"] = "bpe"
    normalization: Literal["identity", "nfkc", "nmt_nfkc", "nfkc_cf", "nmt_nfkc_cf"] = "identity"
    """What becomes of a text's characters before it is cut into pieces. `identity` keeps them: the
    pieces give the text back, white space apart, of which a run is one space. The others are
    SentencePiece's rules, Unicode's NFKC among them: they write `（１）` as `(1)`, `½ ™` as
    `1⁄2 TM`, drop joiners (`nmt_`) or fold capitals (`_cf`), in what the model reads and says."""
    byte_fallback: bool = True
    """A character that has no piece is spelt in bytes, for which 256 pieces are set apart: names
    and signs that the training text lacks are kept. Without it they are all one unknown piece."""
    user_symbols: tuple[str, ...] = ()
    """Texts that are one piece each wherever they occur, such as `<sep>`."""
    character_coverage: Annotated[float, Field(ge=0.98, le=1.0)] = 1.0
    """Share of the training text whose characters get pieces of their own; the rarest get none. At
    1.0 nothing in the training text is spelt in bytes, so a model does not learn to; a language of
    many characters, such as Chinese, fares well with 0.9995."""
    training_sentences: PositiveInt = 2_000_000
    """At most this many sentences (per side) are read to train it."""

    @property
    def sizes(self) -> tuple[int, int]:
        """Pieces of the source and of the target."""
        return self.vocabulary_size, self.target_vocabulary_size or self.vocabulary_size

    @field_validator("user_symbols")
    @classmethod
    def _symbols_are_pieces(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        for symbol in symbols:
            if not symbol or "\u2581" in symbol or any(map(str.isspace, symbol)):
                raise ValueError(f"{symbol!r} cannot be one piece: write it without white space")
            if symbol in SPECIAL_PIECES + BYTE_PIECES:
                raise ValueError(f"{symbol} is a special piece already; leave it out")
            if symbols.count(symbol) > 1:
                raise ValueError(f"{symbol} is there twice")
        return symbols

    @model_validator(mode="after")
    def _one_model_has_one_size(self) -> Self:
        if self.joint and self.target_vocabulary_size is not None:
            raise ValueError(
                "target_vocabulary_size: a joint tokenizer has one vocabulary, of vocabulary_size "
                "pieces; leave it out, or set joint: false"
            )
        return self

    @model_validator(mode="after")
    def _set_apart_pieces_leave_room(self) -> Self:
        bytes_ = len(BYTE_PIECES) if self.byte_fallback else 0
        fixed = len(SPECIAL_PIECES) + bytes_ + len(self.user_symbols)
        for key in ("vocabulary_size", "target_vocabulary_size"):
            size = getattr(self, key)
            if size is not None and size <= fixed:
                least = f"{key}: of {size} pieces {fixed} are set apart"
                ways = ", or set byte_fallback: false, which frees 256" if bytes_ else ""
                raise ValueError(f"{least}, and none is left for text; raise it{ways}")
        return self


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


class PseudoConfig(Config):
    """Sequence-level knowledge distillation: the teacher translates the training sources."""

    beam_size: PositiveInt = 6
    length_penalty: float = 1.0
    max_length: Annotated[int, Field(ge=1, le=MAX_POSITIONS)] = 256
    quantization: Literal["float32", "int8", "float16", "bfloat16"] = "float32"
    batch_tokens: PositiveInt = 4096


class EvaluationConfig(Config):
    """How the models are compared on the test set."""

    beam_size: PositiveInt = 6
    length_penalty: float = 1.0
    max_length: Annotated[int, Field(ge=1, le=MAX_POSITIONS)] = 256
    batch_tokens: PositiveInt = 4096
    quantization: Literal["float32", "int8", "float16", "bfloat16"] = "float32"
    speed_repeats: PositiveInt = 3
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
    """A language code: de, deu, pt_BR, zho_Hans. In file names of `corpus` it stands for {lang}."""
    target_language: str
    """Another one. BLEU's tokenizer goes by it; a private name that is no code gets `13a`."""
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
    def _two_languages(self) -> Self:
        source, target = self.source_language, self.target_language
        if same_language(source, target):
            raise ValueError(
                f"source_language {source} and target_language {target} are the same language; "
                "name two, or variants such as en_GB and en_US"
            )
        return self

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
        source, target = self.tokenizer.sizes
        return ModelConfig(**shape.model_dump(), source_vocabulary=source, target_vocabulary=target)

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
