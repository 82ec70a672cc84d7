"""A teacher that a recipe brings along: it is imported and not trained, and so is its tokenizer."""

import shutil

from pipelines.context import Run, Work, asked_once
from pipelines.tools.brought import brought
from wd.artifacts import Artifact, Metrics
from wd.config import Wanted
from wd.errors import ConfigError
from wd.interop.source import VERSION


@asked_once
def imported_teacher(run: Run) -> Artifact:
    """Return the teacher's model directory; its identity is its source's bytes."""
    recipe, teacher = run.recipe, run.recipe.teacher
    assert teacher.source is not None
    wanted = Wanted(teacher.source, teacher.into, recipe.root, recipe.tracking.uri)
    source = brought(wanted)
    if source.config != recipe.teacher_model:
        raise ConfigError(
            f"teacher.from: {source.place} has not the recipe's shape and vocabularies: it has "
            "changed, or teacher.shape and tokenizer were changed after it was read"
        )

    def build(work: Work) -> Metrics:
        from wd.interop.importing import import_model

        found = import_model(source, work.out)
        return {**found, "published": "imported", "history": []}

    return run.stage("teacher", version=VERSION, config=source.identity, inputs={}, build=build)


@asked_once
def imported_tokenizer(run: Run) -> Artifact:
    """Return the artifact with the teacher's `source.model` and `target.model`."""
    model = imported_teacher(run)

    def build(work: Work) -> Metrics:
        from wd.model.directory import TOKENIZER

        for name in TOKENIZER:
            shutil.copyfile(model.path / name, work.out / name)
        return {}

    return run.stage(
        "tokenizer",
        version=VERSION,
        config={"tokenizer": "imported"},
        inputs={"teacher": model},
        build=build,
    )
