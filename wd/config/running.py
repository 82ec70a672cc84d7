"""Where a run works, is tracked and is registered: none of it changes what a model is."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from wd.config.names import Alias, ModelName
from wd.config.shapes import Config, PositiveInt

NOT_TRACKED = "none"
"""What `tracking.uri` is where nothing is tracked; YAML's null is the default."""


class TrackingConfig(Config):
    """MLflow."""

    uri: str | None = None
    """A server's address, or `none`: track and register nothing, which needs no MLflow. Default:
    the environment's MLFLOW_TRACKING_URI, else a SQLite file below the artifact root."""
    experiment: str = "weight-distillation"

    @field_validator("uri")
    @classmethod
    def _check_none(cls, uri: str | None) -> str | None:
        if uri is not None and uri != NOT_TRACKED and uri.casefold() == NOT_TRACKED:
            raise ValueError(f"to track nothing write {NOT_TRACKED}, not {uri}")
        return uri


CHALLENGER = "challenger"
"""The alias of the newest version that has not won, or lost, the alias in use."""


class GateConfig(Config):
    """What a version must meet to get the alias; what is null is not asked."""

    significance: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """A version with less BLEU, or chrF, than the one that has the alias is refused where the
    difference has a p-value below this (approximate randomisation, same test set)."""
    min_chrf: Annotated[float, Field(ge=0, le=100)] | None = None
    """Least test chrF."""
    min_teacher_share: Annotated[float, Field(ge=0, le=10)] | None = 0.8
    """Least BLEU as a share of the teacher's."""
    max_below_teacher: Annotated[float, Field(ge=0, le=100)] | None = None
    """Most BLEU below the teacher's."""
    max_megabytes: Annotated[float, Field(gt=0, le=10**6)] | None = None
    """Largest model file that is loaded to translate, in 10^6 bytes."""
    max_milliseconds: Annotated[float, Field(gt=0, le=10**6)] | None = None
    """Longest time per sentence of the test set, as the evaluation measured it."""
    min_speed_up: Annotated[float, Field(gt=0, le=10**6)] | None = None
    """Least decoding speed over the teacher's."""
    smoke_sentences: Annotated[int, Field(ge=1, le=10_000)] = 8
    """So many lines of the test set are translated by the registered model, loaded as users do."""


class RegistryConfig(Config):
    """MLflow's model registry."""

    name: ModelName | None = None
    """Registered model; default: RECIPE-STUDENT. It holds models of one language pair."""
    alias: Alias = "champion"
    """Of the version in use; only the gate gives it. What has not got it is `challenger`."""
    min_bleu: Annotated[float, Field(ge=0, le=100)] = 1.0
    """A student below this test BLEU is registered, but does not get the alias."""
    gate: GateConfig = GateConfig()

    @field_validator("alias")
    @classmethod
    def _check_alias(cls, alias: str) -> str:
        if alias == CHALLENGER:
            raise ValueError(f"{CHALLENGER} is what a version is called that has not got the alias")
        return alias


class RayConfig(Config):
    """Where and how wide the work runs. It changes no result, so no artifact depends on it."""

    address: str | None = None
    """A running cluster; default: the one this job runs on, else a local one."""
    workers: Annotated[int, Field(ge=0, le=100_000)] = 1
    """Training workers; 0: no Ray, data is mapped and models are trained by this process."""
    min_workers: PositiveInt | None = None
    """Go on with as few when nodes are lost, and with more when they come back; default: wait for
    all."""
    cpus_per_worker: Annotated[float, Field(gt=0, le=10_000)] = 1.0
    """CPUs (and threads) of a training worker."""
    map_cpus: Annotated[float, Field(gt=0, le=10_000)] = 1.0
    """CPUs (and threads) of a data task or a decoding actor; without workers decoding takes all
    threads."""
    evaluation_cpus: Annotated[float, Field(gt=0, le=10_000)] | None = None
    """CPUs (and threads) of the task that translates and times the test set; default: all of the
    largest node's, which it then has to itself."""
    gpu: bool | Literal["auto"] = "auto"
    """Whether training workers, decoding actors and trials compute on GPUs. `auto`: where the
    cluster, or the machine, has one when the work begins; `true` waits for one on a cluster."""
    gpus_per_worker: Annotated[float, Field(gt=0, le=1)] = 1.0
    """GPUs of each; fractions let small models share one. The workers of one training, if there are
    several, have a whole one each: NCCL wants that."""
    max_failures: Annotated[int, Field(ge=0, le=1_000_000)] = 3
    """Restarts of a training run after lost workers."""
    object_store_memory: Annotated[int, Field(ge=78_643_200, le=10**15)] = 500_000_000
    """Bytes, for a cluster that the run starts itself; Ray takes no less than 75 MiB."""

    @model_validator(mode="after")
    def _check_workers(self) -> Self:
        if self.workers and self.min_workers and self.min_workers > self.workers:
            raise ValueError(f"min_workers {self.min_workers} is more than workers {self.workers}")
        return self

    @property
    def threads(self) -> int:
        """Threads of a training worker."""
        return max(1, int(self.cpus_per_worker))
