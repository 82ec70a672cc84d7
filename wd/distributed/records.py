"""How the trials of a search ended, on disk: what a repeated search goes on from."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from wd.distributed.points import Candidate, Point
from wd.files import whole
from wd.places import Place
from wd.store.shelf import here, pull, push

ENDED = ("finished", "stopped")
"""A trial that ended so is not run again."""


@dataclass(frozen=True)
class TrialEnd:
    """How one trial ended, or how far it is."""

    key: str
    point: Point
    status: str
    """finished, stopped (early, by the search), failed, refused (not trained), unfinished (the
    search was interrupted or its time was up); also running."""
    metrics: Mapping[str, Any]
    """The trial's result, or its last report, and what was known before it trained."""
    error: str = ""
    name: str = ""
    values: Mapping[str, Any] | None = None
    """The sampler's parameters."""
    curve: tuple[tuple[int, float], ...] = field(default=())
    """(update, quality) of every validation."""
    number: int = 0
    """Its place in the order in which the trials were started; of an interrupted one, again."""

    @classmethod
    def of(cls, one: Candidate, status: str, **known: Any) -> "TrialEnd":
        """Return a candidate's, with what is known of it added to its metrics."""
        metrics = {**one.figures, **known.pop("metrics", {})}
        return cls(one.key, one.point, status, metrics, name=one.name, values=one.values, **known)


class Records:
    """A folder with a file per trial; a trial that was started has one that says `running`."""

    def __init__(self, folder: Place) -> None:
        self._folder = folder
        here(folder).mkdir(parents=True, exist_ok=True)

    def write(self, end: TrialEnd) -> None:
        """Record it; whole or not at all."""
        place = self._folder / f"{end.key}.json"
        with whole(here(place)) as partial:
            partial.write_text(json.dumps(asdict(end), indent=2), encoding="utf-8")
        push(place)

    def read(self) -> Iterator[TrialEnd]:
        """Yield what is recorded, in the order in which the trials were first started."""
        found = []
        for file in pull(self._folder).glob("*.json"):
            tree = json.loads(file.read_text(encoding="utf-8"))
            curve = tuple((update, value) for update, value in tree.pop("curve"))
            found.append(TrialEnd(**tree, curve=curve))
        yield from sorted(found, key=lambda end: end.number)


def went_on(end: TrialEnd, status: str, **changes: Any) -> TrialEnd:
    """Return a trial's record after something happened to it."""
    metrics = {**end.metrics, **changes.pop("metrics", {})}
    return replace(end, status=status, metrics=metrics, **changes)
