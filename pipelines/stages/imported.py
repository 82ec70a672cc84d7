"""A teacher that a recipe brings along: it is imported and not trained, and so is its tokenizer."""

import shutil

from pipelines.context import Run, Work, asked_once
from pipelines.tools.brought import brought
from wd.artifacts import Artifact, Metrics
from wd.config import Wanted
from wd.errors import ConfigError
from wd.interop.source import VERSION, Source


@asked_once
def imported_teacher(run: Run) -> Artifact:
    """Return the teacher's model directory; its identity is its source's bytes."""
    recipe, teacher = run.recipe, run.recipe.teacher
    assert teacher.source is not None
    source = _source(run, teacher.source, teacher.into)
    if source.config != recipe.teacher_model:
        raise ConfigError(
            f"teacher.from: {source.place} has not the recipe's shape and vocabularies: it has "
            "changed, or teacher.shape and tokenizer were changed after it was read"
        )
    return _imported(run, source)


@asked_once
def further_teacher(run: Run, place: str) -> Artifact:
    """Return the model directory of one of `pseudo.teachers`, which may be of any shape."""
    return _imported(run, _source(run, place), f"{run.recipe.name}-further")


def _source(run: Run, place: str, into: str | None = None) -> Source:
    return brought(Wanted(place, into, run.recipe.root, run.recipe.tracking.uri))


def _imported(run: Run, source: Source, label: str | None = None) -> Artifact:
    def build(work: Work) -> Metrics:
        from wd.interop.importing import import_model

        found = import_model(source, work.out)
        return {**found, "published": "imported", "history": []}

    return run.stage(
        "teacher", version=VERSION, config=source.identity, inputs={}, build=build, label=label
    )


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
