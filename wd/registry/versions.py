"""Versions and aliases: register a student, promote it, roll back, fetch it.

An alias (say `champion`) names the version in use. Each version remembers which one
it took the alias from, so that `roll_back` can give it back.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from wd.config import DecodingConfig
from wd.config.names import check_alias
from wd.errors import RegistryError
from wd.places import local_folder
from wd.registry.packaging import default_uri, log_model
from wd.tracking import check_reachable, connect

ARTIFACT_TAG = "wd.artifact"
_MAX_TAG_LENGTH = 5000


@dataclass(frozen=True)
class Version:
    """One version of a registered model."""

    name: str
    version: int
    tags: Mapping[str, str]

    @property
    def uri(self) -> str:
        """The address for `mlflow.pyfunc.load_model`."""
        return f"models:/{self.name}/{self.version}"


class Registry:
    """The models registered at one MLflow address (a server, or `sqlite:///<file>`)."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._client = connect(uri)

    @classmethod
    def existing(cls, uri: str) -> Self:
        """Return the registry at an address without making one.

        Raises RegistryError if there is no such file, TrackingError if no server answers.
        """
        check_reachable(uri)
        database = uri.removeprefix("sqlite:///")
        if database != uri and not Path(database).is_file():
            raise RegistryError(
                f"no registry here: {database} does not exist; give the root that was used, or set "
                "MLFLOW_TRACKING_URI"
            )
        return cls(uri)

    def register(
        self,
        name: str,
        folder: Path,
        *,
        artifact: str,
        run_id: str,
        decoding: DecodingConfig,
        tags: Mapping[str, Any],
    ) -> Version:
        """Log a model directory in a run and make it a version; the same artifact only once."""
        from mlflow.exceptions import MlflowException

        try:
            known = self._versions(name, artifact)
            if known:
                return known[-1]
            uri = log_model(self.uri, folder, run_id, decoding)
            texts = {key: str(value)[:_MAX_TAG_LENGTH] for key, value in tags.items()}
            return self._add_version(name, uri, {ARTIFACT_TAG: artifact, **texts})
        except MlflowException as error:
            raise RegistryError(f"{name} cannot be registered at {self.uri}: {error}") from None

    def _add_version(self, name: str, uri: str, tags: Mapping[str, str]) -> Version:
        import mlflow

        with default_uri(self.uri):
            return _version(mlflow.register_model(uri, name, tags=dict(tags)))

    def promote(self, version: Version, alias: str) -> None:
        """Point the alias at a version and remember where it pointed before.

        Raises RegistryError for an alias that MLflow keeps for itself.
        """
        _check(alias)
        before = self._find(version.name, alias)
        if before is not None and before.version == version.version:
            return
        number = str(version.version)
        if before is not None:
            self._client.set_model_version_tag(
                version.name, number, _previous(alias), str(before.version)
            )
        self._client.set_registered_model_alias(version.name, alias, number)

    def roll_back(self, name: str, alias: str) -> tuple[Version, Version]:
        """Give the alias back to the version that had it before; return (left, now in use).

        Raises RegistryError if there is no such alias or nothing to go back to.
        """
        _check(alias)
        current = self.at(name, alias)
        previous = current.tags.get(_previous(alias))
        if previous is None:
            raise RegistryError(
                f"{name}@{alias} is version {current.version}, the first that had this alias: "
                "there is none to go back to"
            )
        target = self._version_of(name, previous)
        self._client.set_registered_model_alias(name, alias, previous)
        return current, target

    def at(self, name: str, alias: str) -> Version:
        """Return the version an alias points at; raises RegistryError if there is none."""
        found = self._find(name, alias)
        if found is None:
            raise RegistryError(
                f"models:/{name}@{alias}: {self.uri} has no such model or alias; "
                "register one with `wd promote RECIPE`"
            )
        return found

    def resolve(self, uri: str) -> Path:
        """Return a local model directory for `models:/NAME@ALIAS` or `models:/NAME/VERSION`.

        A model on a server is downloaded to a temporary folder.
        """
        from mlflow.exceptions import MlflowException

        name, mark, rest = _asked(uri)
        version = self.at(name, rest) if mark == "@" else self._version_of(name, rest)
        try:
            with default_uri(self.uri):
                import mlflow

                found = mlflow.artifacts.download_artifacts(artifact_uri=version.uri)
        except (MlflowException, OSError) as error:
            raise RegistryError(f"{uri}: cannot be fetched: {error}") from None
        return _model_directory(Path(found), uri)

    def _find(self, name: str, alias: str) -> Version | None:
        from mlflow.exceptions import MlflowException

        try:
            return _version(self._client.get_model_version_by_alias(name, alias))
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise RegistryError(f"models:/{name}@{alias}: {error}") from None

    def _version_of(self, name: str, number: str) -> Version:
        from mlflow.exceptions import MlflowException

        try:
            return _version(self._client.get_model_version(name, number))
        except MlflowException as error:
            raise RegistryError(f"models:/{name}/{number}: {error}") from None

    def _versions(self, name: str, artifact: str) -> list[Version]:
        """Return the versions made from an artifact, oldest first."""
        mark = "'" if '"' in name else '"'  # MLflow knows no way to write a mark within marks
        found = self._client.search_model_versions(f"name = {mark}{name}{mark}")
        versions = [_version(entry) for entry in found]
        mine = [entry for entry in versions if entry.tags.get(ARTIFACT_TAG) == artifact]
        return sorted(mine, key=lambda entry: entry.version)


def _asked(uri: str) -> tuple[str, str, str]:
    """Return the name, @ or /, and the alias or the version that an address asks for."""
    path = uri.removeprefix("models:/")
    for mark in ("@", "/"):
        name, found, rest = path.partition(mark)
        if found:
            return name, mark, rest
    raise RegistryError(f"{uri}: say models:/{path}@ALIAS or models:/{path}/VERSION")


def _check(alias: str) -> None:
    try:
        check_alias(alias)
    except ValueError as error:
        raise RegistryError(f"alias {alias}: {error}") from None


def _version(entry: Any) -> Version:
    return Version(entry.name, int(entry.version), dict(entry.tags))


def _previous(alias: str) -> str:
    return f"wd.previous.{alias}"


def _model_directory(model: Path, uri: str) -> Path:
    for config in model.glob("artifacts/*/config.json"):
        return config.parent
    raise RegistryError(f"{uri}: not a model that this package registered")


def resolve(uri: str, root: str = "artifacts") -> Path:
    """Return the local model directory of `models:/NAME@ALIAS` or `models:/NAME/VERSION`.

    The registry is the one MLFLOW_TRACKING_URI names, else the file below the artifact root.
    Raises RegistryError if there is neither, or no such model.
    """
    _asked(uri)
    database = local_folder(root) / "mlflow.db"
    address = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{database}"
    return Registry.existing(address).resolve(uri)
