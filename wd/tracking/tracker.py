"""What a run's code writes to: the `Tracker` protocol, and one that tracks nothing."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from wd.errors import without_credentials

Status = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class TrackerHandle:
    """What another process needs to write into the same run."""

    uri: str
    experiment_id: str
    run_id: str
    kept: str
    """Folder for what cannot be sent."""

    @property
    def page(self) -> str:
        """The address of the run's page on a server; elsewhere the run's id and its database."""
        uri = without_credentials(self.uri)
        if uri.startswith(("http://", "https://")):
            return f"{uri.rstrip('/')}/#/experiments/{self.experiment_id}/runs/{self.run_id}"
        return f"{self.run_id} in {uri}"


class Tracker(Protocol):
    """One run's place for parameters, metrics, files and tags."""

    @property
    def run_id(self) -> str | None:
        """The MLflow run's id; None where nothing is tracked."""

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record settings under dotted keys; what is recorded already stays as it is."""

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Record the numbers among `metrics`, nested ones as `outer/inner`; ignore the rest."""

    def log_file(self, path: Path, folder: str = "") -> None:
        """Store a copy of a file below the run's `folder`."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or replace tags."""

    def system_metrics(self) -> AbstractContextManager[None]:
        """Also track this machine's load, memory, disk and network while the context lasts."""

    def child(self, name: str, key: str) -> "AbstractContextManager[Tracker]":
        """Open a nested run; the same key below the same run always means the same run."""

    def end_child(self, key: str, status: Status) -> None:
        """End a nested run whose process was stopped before it could; else do nothing."""

    def handle(self) -> TrackerHandle | None:
        """Return what `attach` needs in another process."""


class NullTracker:
    """Tracks nothing."""

    run_id = None

    def log_params(self, params: Mapping[str, Any]) -> None: ...  # noqa: D102
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None: ...  # noqa: D102
    def log_file(self, path: Path, folder: str = "") -> None: ...  # noqa: D102
    def set_tags(self, tags: Mapping[str, str]) -> None: ...  # noqa: D102
    def end_child(self, key: str, status: Status) -> None: ...  # noqa: D102

    def system_metrics(self) -> AbstractContextManager[None]:  # noqa: D102
        return nullcontext()

    def child(self, name: str, key: str) -> AbstractContextManager[Tracker]:  # noqa: D102
        return nullcontext(self)

    def handle(self) -> None:  # noqa: D102
        return None
