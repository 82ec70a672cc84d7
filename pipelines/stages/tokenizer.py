"""SentencePiece models from the corpus' training text, or those of a teacher from elsewhere."""

from pipelines.context import Run, Work, asked_once
from pipelines.stages.corpus import corpus
from pipelines.stages.imported import imported_tokenizer
from wd.artifacts import Artifact, Metrics

VERSION = 2


@asked_once
def tokenizer(run: Run) -> Artifact:
    """Return the artifact with `source.model` and `target.model`."""
    if run.recipe.teacher.source is not None:
        return imported_tokenizer(run)
    recipe, text = run.recipe, corpus(run)

    def build(work: Work) -> Metrics:
        from wd.data.tokenizer_training import train_tokenizer

        return dict(train_tokenizer(text.path / "train", work.out, recipe.tokenizer))

    return run.stage(
        "tokenizer",
        version=VERSION,
        config={"tokenizer": recipe.tokenizer},
        inputs={"corpus": text},
        build=build,
    )
