"""The recipe: one frozen object that says everything a pipeline run depends on.

Defaults are the published reference hyper-parameters, so a recipe states only its differences.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from wd.config.data import CorpusConfig, ShardsConfig, TokenizerConfig
from wd.config.decoding import HALF_PRECISION, EvaluationConfig, PseudoConfig
from wd.config.generation import GeneratorConfig
from wd.config.names import Name
from wd.config.running import RayConfig, RegistryConfig, TrackingConfig
from wd.config.search import SearchConfig
from wd.config.shapes import Config, ModelConfig, ModelShape, StackOverride, StudentShape
from wd.config.training import (
    FineTuningConfig,
    ObjectiveConfig,
    TeacherTrainingConfig,
    TrainingConfig,
)
from wd.language_codes import same_language

Method = Literal["scratch", "kd", "copy", "wd"]
"""How a student is made; all get equal updates in total."""
_START = ("learning_rate", "initial_learning_rate", "warmup_updates")
"""What a training's first updates depend on."""


class TeacherConfig(Config):
    """The teacher: trained here, or brought along."""

    source: str | None = Field(default=None, alias="from", min_length=1, max_length=4096)
    """A model to take instead of training one: a folder that `wd import` can read, an artifact's
    name such as `student/NAME-HASH`, or `models:/NAME@ALIAS`. It brings its shape and its
    tokenizer; what the recipe says of those, and of the teacher's training, is not read. Its
    artifact is identified by its bytes, not by where it lies."""
    into: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Which of its target languages a `from` of several translates into, as its tags name them:
    `deu` for >>deu<<. The tag then stands before every source, for teacher and students alike."""
    shape: ModelShape = ModelShape()
    training: TeacherTrainingConfig = TeacherTrainingConfig()

    @model_validator(mode="after")
    def _into_is_of_a_model_brought_along(self) -> Self:
        if self.into is not None and self.source is None:
            raise ValueError("into: it chooses a language of the model that from names: set from")
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
    root: Annotated[str, Field(min_length=1, max_length=4096)] = "artifacts"
    """Where all lies that a run makes: a folder that all nodes share, or an s3:// or gs:// address,
    beside which they need share nothing."""
    corpus: CorpusConfig = CorpusConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    shards: ShardsConfig = ShardsConfig()
    teacher: TeacherConfig = TeacherConfig()
    pseudo: PseudoConfig = PseudoConfig()
    students: dict[Name, StudentShape] = Field(default_factory=_paper_students)
    student: str = "tiny"
    """The student to make."""
    via: tuple[Name, ...] = ()
    """Students that are made before it, by weight distillation: the teacher distils the first of
    them, each distils the next, and the last one `student`. Smaller steps lose less: with `small`
    here, TINY learns from SMALL, its weights and its translations."""
    generator: GeneratorConfig = GeneratorConfig()
    fine_tuning: FineTuningConfig = FineTuningConfig()
    """Phase 2."""
    objective: ObjectiveConfig = ObjectiveConfig()
    """Of both phases, and of the baselines that they are compared with."""
    evaluation: EvaluationConfig = EvaluationConfig()
    tracking: TrackingConfig = TrackingConfig()
    registry: RegistryConfig = RegistryConfig()
    search: SearchConfig = SearchConfig()
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
                listed = "; ".join(reason.removeprefix("Value error, ") for reason in reasons)
                raise ValueError(f"students.{name}: {listed}") from None
        return self

    @model_validator(mode="after")
    def _students_can_be_changed(self) -> Self:
        for name in self.students:
            if "." in name:
                raise ValueError(
                    f"students.{name}: a student's name holds no dot, since keys such as "
                    "students.NAME.decoder.layers are parted there"
                )
        return self

    @model_validator(mode="after")
    def _hops_are_students(self) -> Self:
        for name in self.via:
            if name not in self.students:
                known = ", ".join(sorted(self.students))
                raise ValueError(f"via: {name} is not defined; the recipe has {known}")
            if (*self.via, self.student).count(name) > 1:
                raise ValueError(f"via: {name} is on the way twice, or is the student itself")
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
    def _test_sets_have_names_of_their_own(self) -> Self:
        known = {"test", *(self.corpus.test if isinstance(self.corpus.test, dict) else ())}
        for name in self.evaluation.tests:
            if name in known:
                raise ValueError(f"evaluation.tests: {name} is a test set of the corpus already")
        return self

    @model_validator(mode="after")
    def _half_precision_needs_a_gpu(self) -> Self:
        for key, decoding in {"pseudo": self.pseudo, "evaluation": self.evaluation}.items():
            if decoding.quantization in HALF_PRECISION and self.ray.gpu is False:
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

    @model_validator(mode="after")
    def _stored_words_need_no_teacher(self) -> Self:
        if self.pseudo.top_k and self.objective.hidden_states:
            raise ValueError(
                "pseudo.top_k stores what word_kd needs so that no teacher runs, but with "
                "objective.hidden_states it runs all the same: leave one of them at 0"
            )
        return self

    @property
    def stores_words(self) -> bool:
        """Whether students are compared with stored word distributions."""
        return self.pseudo.top_k > 0 and self.objective.word_kd > 0

    @property
    def runs_teacher(self) -> bool:
        """Whether the teacher runs beside every student that learns from it."""
        return self.objective.needs_teacher and not self.stores_words

    def local_models(self) -> dict[str, Any]:
        """Return key -> value, with absolute paths, of what names teachers by relative ones."""

        def is_relative(source: str | None) -> bool:
            return source is not None and not Path(source).is_absolute() and Path(source).exists()

        found: dict[str, Any] = {}
        if is_relative(self.teacher.source):
            found["teacher.from"] = str(Path(str(self.teacher.source)).absolute())
        if any(map(is_relative, self.pseudo.teachers)):
            found["pseudo.teachers"] = [
                str(Path(one).absolute()) if is_relative(one) else one
                for one in self.pseudo.teachers
            ]
        return found

    def model(self, shape: ModelShape) -> ModelConfig:
        """Return `shape` completed with the recipe's vocabulary sizes."""
        source, target = self.tokenizer.sizes
        return ModelConfig(**shape.model_dump(), source_vocabulary=source, target_vocabulary=target)

    @property
    def teacher_model(self) -> ModelConfig:
        """The teacher with its vocabularies."""
        return self.model(self.teacher.shape)

    @property
    def hops(self) -> tuple[Self, ...]:
        """The recipes of the students on the way, in order; the last one is this."""
        students = (*self.via, self.student)
        return tuple(
            self.model_copy(update={"student": student, "via": students[:number]})
            for number, student in enumerate(students)
        )

    @property
    def taught_by(self) -> ModelConfig:
        """The model that the student learns from: the teacher, or the last student on the way."""
        before = self.hops[-2:-1]
        return before[0].student_model if before else self.teacher_model

    @property
    def guide(self) -> ModelConfig | None:
        """The teacher that runs beside the student in both phases, if one does."""
        return self.taught_by if self.runs_teacher else None

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
