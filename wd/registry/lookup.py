"""What is registered: find a version by its number or alias, read it, fetch it."""

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from wd.artifacts import Store
from wd.config import DecodingConfig
from wd.errors import RegistryError
from wd.registry.evidence import Evidence, read_evidence
from wd.registry.packaging import EVALUATION, MODEL, default_uri
from wd.tracking import check_reachable, connect, explained, mend_moved_root, reached

_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What MLflow answers where there is no such model or alias."""
_ARTIFACT = re.compile(r"[^/]+/[^/]+-[0-9a-f]{12}")
_PAGE = 1000


@dataclass(frozen=True)
class Version:
    """One version of a registered model."""

    name: str
    version: int
    tags: Mapping[str, str]
    model_id: str | None = None
    """Of the logged model, where its files are."""
    run_id: str | None = None

    @property
    def uri(self) -> str:
        """The address for `mlflow.pyfunc.load_model`."""
        return f"models:/{self.name}/{self.version}"


class Lookup:
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
        mend_moved_root(uri)
        return cls(uri)

    def reached(self) -> AbstractContextManager[None]:
        """Raise TrackingError for what MLflow and its transport raise meanwhile."""
        return reached(self._client)

    def has(self, name: str) -> bool:
        """Tell whether there is a registered model of this name."""
        return self._model(name) is not None

    def _model(self, name: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code in _ABSENT:
                return None
            raise RegistryError(f"registry.name: {name}: {self.uri}: {explained(error)}") from None

    def at(self, name: str, alias: str) -> Version:
        """Return the version an alias points at; raises RegistryError if there is none."""
        found = self._find(name, alias)
        if found is None:
            raise RegistryError(
                f"models:/{name}@{alias}: {self.uri} has no such model or alias; "
                "register one with `wd promote RECIPE`"
            )
        return found

    def evidence(self, version: Version) -> Evidence | None:
        """Return a version's evaluation, None if it was registered without.

        Raises RegistryError if it cannot be fetched.
        """
        files = f"{version.uri}/artifacts"
        with self._artifacts(files) as artifacts:
            listed = [each.path for each in artifacts.list_artifacts(artifact_uri=files)]
        if f"artifacts/{EVALUATION}" not in listed:
            return None
        with tempfile.TemporaryDirectory(prefix="wd-registry-") as folder:
            return read_evidence(self._download(f"{files}/{EVALUATION}", folder))

    def artifacts(self) -> set[str]:
        """Return the names of all artifacts that versions are, or were made from."""
        found, token = set(), None
        while True:
            page = self._client.search_model_versions(max_results=_PAGE, page_token=token)
            found |= {
                value
                for entry in page
                for key, value in entry.tags.items()
                if key.startswith("wd.") and _ARTIFACT.fullmatch(value)
            }
            if not (token := page.token):
                return found

    def resolve(self, uri: str) -> Path:
        """Return a local model directory for `models:/NAME@ALIAS` or `models:/NAME/VERSION`.

        A model on a server is downloaded to a temporary folder.
        """
        name, mark, rest = _asked(uri)
        version = self.at(name, rest) if mark == "@" else self.version(name, rest)
        return _model_directory(self._download(version.uri), uri)

    def _download(self, uri: str, folder: str | None = None) -> Path:
        with self._artifacts(uri) as artifacts:
            return Path(artifacts.download_artifacts(artifact_uri=uri, dst_path=folder))

    @contextmanager
    def _artifacts(self, uri: str) -> Iterator[Any]:
        """Yield MLflow's `artifacts`; raises RegistryError where `uri` cannot be fetched."""
        from mlflow.exceptions import MlflowException

        try:
            with default_uri(self.uri):
                import mlflow

                yield mlflow.artifacts
        except (MlflowException, OSError) as error:
            raise RegistryError(f"{uri}: cannot be fetched: {error}") from None

    def _find(self, name: str, alias: str) -> Version | None:
        from mlflow.exceptions import MlflowException

        try:
            return as_version(self._client.get_model_version_by_alias(name, alias))
        except MlflowException as error:
            if error.error_code in _ABSENT:
                return None
            raise RegistryError(f"models:/{name}@{alias}: {explained(error)}") from None

    def version(self, name: str, number: str) -> Version:
        """Return a version by its number; raises RegistryError if there is none."""
        from mlflow.exceptions import MlflowException

        try:
            return as_version(self._client.get_model_version(name, number))
        except MlflowException as error:
            raise RegistryError(f"models:/{name}/{number}: {explained(error)}") from None

    def _versions(self, name: str, tags: Mapping[str, str]) -> list[Version]:
        """Return the versions with these tags, oldest first."""
        mark = "'" if '"' in name else '"'  # MLflow knows no way to write a mark within marks
        found = self._client.search_model_versions(f"name = {mark}{name}{mark}")
        versions = [as_version(entry) for entry in found]
        mine = [entry for entry in versions if tags.items() <= entry.tags.items()]
        return sorted(mine, key=lambda entry: entry.version)


def _asked(uri: str) -> tuple[str, str, str]:
    """Return the name, @ or /, and the alias or the version that an address asks for."""
    path = uri.removeprefix("models:/")
    for mark in ("@", "/"):
        name, found, rest = path.partition(mark)
        if found:
            return name, mark, rest
    raise RegistryError(f"{uri}: say models:/{path}@ALIAS or models:/{path}/VERSION")


def as_version(entry: Any) -> Version:
    """Return what MLflow calls a model version as one of ours."""
    model_id = str(entry.source).removeprefix("models:/")
    logged = None if model_id == entry.source else model_id
    return Version(entry.name, int(entry.version), dict(entry.tags), logged, entry.run_id)


def _model_directory(model: Path, uri: str) -> Path:
    for folder in (model / "artifacts" / MODEL, *model.glob("artifacts/*/")):
        if (folder / "model.safetensors").is_file():
            return folder
    raise RegistryError(f"{uri}: not a model that this package registered")


def registry_address(root: str) -> str:
    """Return the registry that MLFLOW_TRACKING_URI names, else the file below the root."""
    named = os.environ.get("MLFLOW_TRACKING_URI")
    return named or f"sqlite:///{Store(root).folder / 'mlflow.db'}"


def registered_artifacts(uri: str) -> set[str]:
    """Return the names of the artifacts that the versions of a registry are, or were made from.

    Raises RegistryError if there is no registry at the address, TrackingError if it is away.
    """
    models = Lookup.existing(uri)
    with models.reached():
        return models.artifacts()


def resolve(uri: str, root: str = "artifacts", registry: str | None = None) -> Path:
    """Return the local model directory of `models:/NAME@ALIAS` or `models:/NAME/VERSION`.

    Raises RegistryError if there is no registry at that address, by default `registry_address`, or
    no such model.
    """
    _asked(uri)
    return Lookup.existing(registry or registry_address(root)).resolve(uri)


def registered_settings(folder: Path) -> dict[str, Any]:
    """Return the decoding settings that came with the model directory of a version.

    Of a folder that is no version's: nothing.
    """
    description = folder.parent.parent / "MLmodel"
    if folder.parent.name != "artifacts" or not description.is_file():
        return {}
    from mlflow.models import Model

    flavor = Model.load(str(description)).flavors.get("python_function", {})
    settings = dict(flavor.get("config") or {})
    return {key: value for key, value in settings.items() if key in DecodingConfig.model_fields}
