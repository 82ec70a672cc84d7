"""The teacher's word distributions over batches, stored once for all students."""

from pipelines.context import Run, Work, asked_once
from pipelines.stages.pseudo import pseudo_shards
from pipelines.stages.shards import shards
from pipelines.stages.teacher import teacher
from pipelines.stages.training import WORDS
from wd.artifacts import Artifact, Metrics
from wd.config import PSEUDO_STORED

VERSION = 1


def student_inputs(run: Run) -> dict[str, Artifact]:
    """Return what a student that learns from its teacher reads beyond `training_inputs`."""
    inputs = {"pseudo_shards": pseudo_shards(run)}
    if run.recipe.stores_words:
        inputs |= {role: distributions(run, of) for of, role in WORDS.items()}
    return inputs


@asked_once
def distributions(run: Run, of: str) -> Artifact:
    """Return the artifact with the most probable words for the `train/` batches.

    `of` is what holds them: shards or pseudo_shards.
    """
    recipe, pseudo = run.recipe, of == "pseudo_shards"
    batches, model = pseudo_shards(run) if pseudo else shards(run), teacher(run)
    config = {key: getattr(recipe.pseudo, key) for key in PSEUDO_STORED}

    def build(work: Work) -> Metrics:
        from wd.distributed.accelerator import decoding_device
        from wd.distributed.map import map_parts
        from wd.training.teacher_pass import PartDistributions

        parts, made = batches.files("train"), work.scratch / "train"
        how = (model.place, *config.values(), decoding_device(recipe.ray))
        stats = map_parts(PartDistributions, parts, made, config=recipe.ray, actor_args=how)
        for part in parts:
            work.take(made / part.name, f"train/{part.name}")
        total = {key: sum(part[key] for part in stats) for key in stats[0]}
        covered = total["covered"] / max(1, total["pieces"])
        run.say(
            f"distributions: {config['top_k']} words for each of {total['pieces']:,} pieces, "
            f"{covered:.1%} of their probability, {total['bytes'] / 1e6:,.1f} MB"
        )
        return {**total, "covered": covered}

    return run.stage(
        "distributions",
        version=VERSION,
        label=f"{recipe.name}-pseudo" if pseudo else recipe.name,
        place="pseudo",
        config=config,
        inputs={"shards": batches, "teacher": model},
        build=build,
    )
