"""All stages, raw text to registry: the entry point of a pipeline job."""

from contextlib import suppress

from pipelines.context import STAGES, Run
from wd.artifacts import Artifact
from wd.errors import ConfigError, RegistryError, TrackingError
from wd.tracking import is_tracked


def everything(run: Run) -> dict[str, Artifact]:
    """Make whatever is missing, in order; return the last stages' artifacts.

    The stages ask for what they need themselves, so asking for the last ones is enough. Without
    tracking there is no registry, and its stage is left out.
    """
    from pipelines.stages.evaluation import evaluation
    from pipelines.stages.registry import check_registrable, registry
    from wd.distributed.accelerator import check_half_precision
    from wd.generator.choices import check_generable

    recipe = run.recipe  # before hours go into a teacher
    for hop in recipe.hops:
        check_generable(hop.taught_by, hop.student_model, hop.generator.grouping)
    if not run.dry:
        check_half_precision(recipe)
        if is_tracked(recipe):
            with suppress(TrackingError):  # a server that is away: told where it is needed
                check_registrable(recipe)
    made = {"evaluation": evaluation(run)}
    if is_tracked(recipe):
        try:
            return made | {"registry": registry(run)}
        except (RegistryError, TrackingError) as error:
            way_on = "all that is to be registered is made and kept; the same command goes on"
            raise type(error)(f"{error} ({way_on})") from error
    run.say("left out  registry: tracking.uri is none, and the registry is MLflow's")
    return made


def stages_from(stage: str | None) -> frozenset[str]:
    """Return the stages to do again when the run starts over from `stage`.

    Raises ConfigError if there is no such stage.
    """
    if stage is None:
        return frozenset()
    if stage not in STAGES:
        raise ConfigError(f"--from {stage}: no such stage; the stages are {', '.join(STAGES)}")
    return frozenset(STAGES[STAGES.index(stage) :])
