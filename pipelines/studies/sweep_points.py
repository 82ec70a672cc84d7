"""Which points of a space may be tried: possible students within the limits."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipelines.stages.student import check_possible
from pipelines.studies.sweep_speeds import ShapeSpeeds, in_signs
from wd.config import Recipe, broken_limits, overridden
from wd.errors import ConfigError
from wd.model.sizes import count_parameters, weight_bytes

if TYPE_CHECKING:
    from tune_spaces import Space
    from wd.distributed.points import Candidate

_PROBED, _TIMED = 1000, 25
"""Points that are looked at for one that may be tried; and shapes that are timed for it."""
_TOLD = 3
"""So many rules are told, those that refuse most first."""
_ELSEWHERE = {"ray", "root", "tracking", "registry", "search", "students", "student"}
"""Sections that say nothing of a student, or what its shape says already."""
_SAME = "being the same student as trial"


class Points:
    """From a choice of parameters to a candidate; counts which rule refuses how many."""

    def __init__(self, recipe: Recipe, space: "Space", speeds: ShapeSpeeds) -> None:
        self.refusals: Counter[str] = Counter()
        self._recipe, self._space, self._speeds = recipe, space, speeds
        self._teacher = count_parameters(recipe.teacher_model)
        self._same: dict[str, str] = {}
        self._nearest: dict[str, float] = {}
        self._looked = self._timed = 0

    def given(self) -> list["Candidate"]:
        """Return the unchanged recipe and the other students that it names, in its order.

        They are what others are compared with: none is stopped early, nor refused for a limit that
        it breaks; it only cannot win.
        """
        recipe = self._recipe
        others = [name for name in recipe.students if name != recipe.student]
        points = {f"{recipe.student} (the recipe)": {}, **{n: {"student": n} for n in others}}
        return [self._candidate(point, self._values(point), name) for name, point in points.items()]

    def candidate(self, values: Mapping[str, Any]) -> "Candidate":
        """Return the point of these values, and why it may not be tried if it may not."""
        return self._candidate(self._space.point(values), values)

    def probe(self, choices: Iterator[Mapping[str, Any]]) -> None:
        """Raise ConfigError, which names the rules that refuse most, if no point may be tried.

        It is enough that one of a thousand, or of the first 25 whose speed must be measured, may.
        """
        for number, values in enumerate(choices):
            if number >= _PROBED or self._timed >= _TIMED:
                break
            refused = self.candidate(values).refused
            if not refused or refused.startswith(_SAME):
                self._same.clear()  # whoever comes after is no double of what was only looked at
                return
        raise ConfigError(f"no student of the space can be tried: {self.told()}")

    def told(self) -> str:
        """Say which rules refused how many of the points that were looked at."""
        rules = [
            f"{count} by {rule}" + self._near(rule)
            for rule, count in self.refusals.most_common(_TOLD)
        ]
        return f"of {self._looked} points, refused are {', '.join(rules)}"

    def _near(self, rule: str) -> str:
        key = rule.removeprefix("search.").partition(" ")[0]
        if key not in self._nearest:
            return ""
        most = "smallest" if key.startswith("max_") else "largest"
        return f" (the {most} there is: {self._nearest[key]:,.6g})"

    def _candidate(
        self, point: Mapping[str, Any], values: Mapping[str, Any] | None, name: str = ""
    ) -> "Candidate":
        from wd.distributed.points import Candidate, trial_key

        plain = json.loads(json.dumps(point))  # as it is read from a record
        self._looked += 1
        key = trial_key(plain)
        try:
            changed = overridden(self._recipe, plain)
            check_possible(changed, "wd")
        except ConfigError as error:
            return Candidate(plain, name or key, values, refused=self._refuse(_rule(error)))
        figures = self._figures(changed, is_given=bool(name))
        if name:
            same = self._refused_as_same(changed, key)
            return Candidate(plain, name, values, figures, same, kept=True)
        label = name or f"{key} {in_signs(changed.student_model)}"
        return Candidate(plain, label, values, figures, self._refused(changed, key, figures))

    def _figures(self, changed: Recipe, *, is_given: bool) -> dict[str, float]:
        """Return what the shape alone decides; its speed only if it may be tried for its size."""
        model = changed.student_model
        quantization = self._recipe.evaluation.on("cpu").quantization
        assert quantization != "auto"
        parameters = count_parameters(model)
        figures: dict[str, float] = {
            "parameters": parameters,
            "megabytes": weight_bytes(model, quantization) / 1e6,
            "compression": parameters / self._teacher,
        }
        if is_given or not broken_limits(self._recipe.search, figures):
            self._timed += 1
            figures |= self._speeds.student(model)
        return figures

    def _refused(self, changed: Recipe, key: str, figures: dict[str, float]) -> str:
        """Return the limit that a point breaks, or whose double it is."""
        config = self._recipe.search
        for limit, (name, _) in config.limits.items():
            if name in figures:
                best = min if limit.startswith("max_") else max
                self._nearest[limit] = best(self._nearest.get(limit, figures[name]), figures[name])
        for limit, bound in broken_limits(config, figures):
            figure = figures[config.limits[limit][0]]
            self._refuse(f"search.{limit} {bound:,.6g}")
            return f"search.{limit} {bound:,.6g}: it has {figure:,.6g}"
        return self._refused_as_same(changed, key)

    def _refused_as_same(self, changed: Recipe, key: str) -> str:
        """Return why a point is another one's double, if it is."""
        settings = changed.model_dump(mode="json", exclude=_ELSEWHERE)
        same = json.dumps([changed.student_model.model_dump(mode="json"), settings])
        if self._same.setdefault(same, key) != key:
            return self._refuse(f"{_SAME} {self._same[same]}")
        return ""

    def _refuse(self, rule: str) -> str:
        self.refusals[re.sub(r" trial \w+$", " another", rule)] += 1
        return rule

    def _values(self, point: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the space's parameters that a point of the recipe's own stands for."""
        changed = overridden(self._recipe, point)
        tree = changed.model_dump()
        shape = changed.students[changed.student].of(changed.teacher.shape)
        tree["students"] = {self._recipe.student: shape.model_dump()}
        return self._space.values_of(changed, dict(_dotted(tree)))


def _rule(error: ConfigError) -> str:
    """Return a rule without the numbers of the point that broke it."""
    told = str(error).partition(": ")[2] if str(error).startswith("recipe ") else str(error)
    return re.sub(r"\d[\d.,]*", "N", told)


def _dotted(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
