"""Which version is in use: the alias, the way it came there, and one promotion at a time."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wd.errors import RegistryError

if TYPE_CHECKING:
    from mlflow import MlflowClient

_KEPT = 400
"""So many steps are remembered; MLflow's tags hold 5,000 characters."""
_STALE_SECONDS = 120
"""A promotion that holds the alias for so long has died."""


@dataclass(frozen=True)
class Standing:
    """Where an alias points, and what is known of its past."""

    current: int | None
    history: tuple[int, ...]
    """The versions that had it, the one in use last."""
    note: str | None
    """What somebody has done to it by hand."""


class Alias:
    """One alias of one registered model."""

    def __init__(self, client: "MlflowClient", name: str, alias: str) -> None:
        self._client = client
        self._name = name
        self._alias = alias
        self._tag = f"wd.history.{alias}"

    @property
    def standing(self) -> Standing:
        """Read both; an alias that was moved by hand is in the history from then on."""
        model = self._client.get_registered_model(self._name)
        alias = f"{self._name}@{self._alias}"
        found = dict(model.aliases).get(self._alias)
        current = None if found is None else int(found)
        history = tuple(json.loads(model.tags.get(self._tag, "[]")))
        last = history[-1] if history else None
        if current == last:
            return Standing(current, history, None)
        if current is None:
            note = f"{alias} was at version {last} and was removed by hand"
            return Standing(None, history, note)
        if last is None:
            note = f"{alias} was set to version {current} by hand"
            return Standing(current, (current,), note)
        note = f"{alias} was moved by hand, from version {last} to version {current}"
        return Standing(current, (*history, current), note)

    def move(self, version: int, *, expected: int | None) -> None:
        """Point the alias at a version if it still points at `expected`.

        Raises RegistryError if it does not, or if somebody else is about to move it.
        """
        with self._held():
            standing = self._unchanged(expected)
            if standing.current != version:
                self._set((*standing.history, version))

    def back(self, steps: int) -> tuple[int, int, str | None]:
        """Give the alias back to the version that had it so many steps before.

        Returns the version that had it, the one that has it now, and the standing's note. Raises
        RegistryError if there is none.
        """
        with self._held():
            standing = self.standing
            past = standing.history
            if standing.current is None:
                raise RegistryError(f"{self._name}@{self._alias}: no version has this alias")
            if len(past) <= steps:
                had = ", ".join(map(str, past[:-1])) or "none"
                raise RegistryError(
                    f"{self._name}@{self._alias} is version {standing.current}, the first that had "
                    f"this alias: there is none to go back to"
                    if len(past) == 1
                    else f"{self._name}@{self._alias} is version {standing.current}; {steps} steps "
                    f"back there is none: before it were {had}"
                )
            self._set(past[:-steps])
            return standing.current, past[-1 - steps], standing.note

    def _unchanged(self, expected: int | None) -> Standing:
        standing = self.standing
        if standing.current != expected:
            raise RegistryError(
                f"{self._name}@{self._alias} went from {_version(expected)} to "
                f"{_version(standing.current)} while the gate was at work: another promotion was "
                "faster; promote again to be compared with the new one"
            )
        return standing

    def _set(self, history: tuple[int, ...]) -> None:
        # The history first: if this process dies between the two, the alias is seen as moved.
        text = json.dumps(history[-_KEPT:], separators=(",", ":"))
        self._client.set_registered_model_tag(self._name, self._tag, text)
        self._client.set_registered_model_alias(self._name, self._alias, str(history[-1]))

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Keep others from moving the alias.

        MLflow has no locks, but of several that create one name only one can: its back end's
        table has it as its key.
        """
        lock = f"{self._name}.{self._alias}.being-moved"
        self._take(lock)
        try:
            yield
        finally:
            self._client.delete_registered_model(lock)

    def _take(self, lock: str) -> None:
        from mlflow.exceptions import MlflowException

        for _ in range(2):
            try:
                self._client.create_registered_model(lock, description="A promotion is under way.")
                return
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise RegistryError(f"{self._name}@{self._alias}: {error}") from None
            try:
                taken = self._client.get_registered_model(lock).creation_timestamp / 1000
            except MlflowException:
                continue  # it was given back just now
            if time.time() - taken < _STALE_SECONDS:
                break
            self._client.delete_registered_model(lock)
        raise RegistryError(
            f"{self._name}@{self._alias}: another promotion or roll-back is under way; try again "
            f"when it is done (one that died is forgotten after {_STALE_SECONDS} s)"
        )


def _version(number: int | None) -> str:
    return "no version" if number is None else f"version {number}"
