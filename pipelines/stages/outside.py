"""What a run reads from outside its root, found once for the runs that it starts elsewhere."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.context import Run
from pipelines.stages.corpus import corpus
from pipelines.stages.imported import further_teacher, imported_teacher
from pipelines.stages.monolingual import monolingual
from wd.artifacts import Artifact
from wd.config import Recipe


@dataclass(frozen=True)
class Outside:
    """The artifacts made of the text and the models that a recipe names.

    Who has them need not see those, as another machine may not, and does not read them again.
    """

    recipe: Recipe
    answers: Mapping[Hashable, Artifact]

    def answers_for(self, recipe: Recipe) -> dict[Hashable, Artifact]:
        """Return what stage functions answer to a run of a recipe, which may name other text."""
        return dict(self.answers) if _named(recipe) == _named(self.recipe) else {}


def outside(run: Run, recipe: Recipe) -> Outside:
    """Return what `recipe`, the run's own for another process, finds outside the root."""
    with run.sibling(recipe) as asked:
        corpus(asked)
        if recipe.pseudo.monolingual:
            monolingual(asked)
        if recipe.teacher.source is not None:
            imported_teacher(asked)
        for place in recipe.pseudo.teachers:
            further_teacher(asked, place)
        return Outside(recipe, asked.answers)


def _named(recipe: Recipe) -> tuple[Any, ...]:
    languages = (recipe.source_language, recipe.target_language)
    pseudo = (recipe.pseudo.monolingual, recipe.pseudo.teachers)
    own = (recipe.name, recipe.root, languages)
    return (*own, recipe.corpus, recipe.teacher, recipe.tokenizer, *pseudo)
