"""Versions: register a student, keep its verdict, put it into use, roll back."""

import io
import tempfile
from collections.abc import Mapping
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from wd.config import CHALLENGER, DecodingConfig
from wd.config.names import check_alias
from wd.errors import RegistryError
from wd.registry.aliases import Alias, Standing
from wd.registry.card import card
from wd.registry.evidence import Evidence
from wd.registry.gate import Verdict
from wd.registry.lookup import Lookup, Version, as_version
from wd.registry.packaging import PACKAGING, default_uri, log_model, portable_settings
from wd.tracking import explained

ARTIFACT_TAG, LANGUAGES_TAG, PACKAGING_TAG = "wd.artifact", "wd.languages", "wd.packaging"
_WHOLE_TAG = "wd.whole"
"""Of a version that has its page and its metrics."""
VERDICT = "gate.txt"
_MAX_TAG_LENGTH = 5000
_METRICS = ("bleu", "chrf", "sentences_per_second", "milliseconds", "speed_up", "megabytes")
"""Of an evidence: they are metrics of the version, too."""


def marks_of(artifact: str, evidence: Evidence) -> dict[str, str]:
    """Return the tags by which a version is known again."""
    return {
        ARTIFACT_TAG: artifact,
        "wd.evaluation": evidence.evaluation,
        PACKAGING_TAG: PACKAGING,
    }


class Registry(Lookup):
    """The models registered at one MLflow address, to change them."""

    def check_languages(self, name: str, languages: str) -> None:
        """Raise RegistryError if the model holds versions of another language pair."""
        model = self._model(name)
        others = languages if model is None else model.tags.get(LANGUAGES_TAG, languages)
        if others != languages:
            raise RegistryError(
                f"registry.name: {name} holds {others} models, this one is {languages}: whoever "
                f"asks for {name} would get another language; add registry.name={name}-{languages}"
            )

    def register(
        self,
        name: str,
        folder: Path,
        *,
        artifact: str,
        run_id: str,
        decoding: DecodingConfig,
        evidence: Evidence,
        tags: Mapping[str, Any],
        lineage: Mapping[str, str],
    ) -> Version:
        """Log a model directory in a run and make it a version; the same artifact only once.

        An artifact that was evaluated otherwise is another version. What a killed call left undone
        is done. Raises RegistryError, also for a model of another language pair.
        """
        from mlflow.exceptions import MlflowException

        self.check_languages(name, evidence.languages)
        marks = marks_of(artifact, evidence)
        try:
            if known := self._versions(name, marks):
                version = known[-1]
            else:
                uri = log_model(self.uri, folder, run_id, decoding, evidence)
                texts = {key: str(value)[:_MAX_TAG_LENGTH] for key, value in tags.items()}
                texts[LANGUAGES_TAG] = evidence.languages
                version = self._add_version(name, uri, {**texts, **marks})
            if _WHOLE_TAG not in version.tags:
                self._complete(version, run_id, evidence, decoding, lineage)
        except MlflowException as error:
            raise RegistryError(
                f"{name} cannot be registered at {self.uri}: {explained(error)}"
            ) from None
        return version

    def _complete(
        self,
        version: Version,
        run_id: str,
        evidence: Evidence,
        decoding: DecodingConfig,
        lineage: Mapping[str, str],
    ) -> None:
        """Give a version its page and its metrics, and its model the languages."""
        name, number = version.name, str(version.version)
        self._client.set_registered_model_tag(name, LANGUAGES_TAG, evidence.languages)
        packed = self.evidence(version) or evidence
        settings = DecodingConfig.model_validate(portable_settings(decoding))
        text = card(f"{name}, version {number}", packed, settings, lineage, version.uri)
        self._client.update_model_version(name, number, text)
        for key in _METRICS:
            value = float(getattr(packed, key))
            self._client.log_metric(run_id, f"version/{key}", value, model_id=version.model_id)
        self._client.set_model_version_tag(name, number, _WHOLE_TAG, "yes")

    def _add_version(self, name: str, uri: str, tags: Mapping[str, str]) -> Version:
        import mlflow

        # It prints what our log tells, too.
        with default_uri(self.uri), redirect_stderr(io.StringIO()):
            return as_version(mlflow.register_model(uri, name, tags=dict(tags)))

    def record(self, version: Version, verdict: Verdict, outcome: str) -> None:
        """Keep a verdict as tags and as the file `gate.txt` of the version."""
        number = str(version.version)
        tags = {"wd.gate": "passed" if verdict.passed else "refused", "wd.gate.reason": outcome}
        for check in verdict.checks:
            state = "pass" if check.passed else "FAIL"
            tags[f"wd.gate.{check.rule}"] = f"{state}: {check.detail}"
        for key, value in tags.items():
            text = value[:_MAX_TAG_LENGTH]
            self._client.set_model_version_tag(version.name, number, key, text)
        if version.model_id is None:
            return
        with tempfile.TemporaryDirectory(prefix="wd-registry-") as folder:
            path = Path(folder, VERDICT)
            path.write_text("\n".join([outcome, *verdict.lines]) + "\n", encoding="utf-8")
            self._client.log_model_artifact(version.model_id, str(path))

    def standing(self, name: str, alias: str) -> Standing:
        """Return where an alias points and how it came there."""
        return self._alias(name, alias).standing

    def promote(self, version: Version, alias: str, *, expected: int | str | None = "any") -> None:
        """Point the alias at a version, if it still points at `expected` (a number, or None).

        Raises RegistryError if it does not, and for an alias that MLflow keeps for itself.
        """
        place = self._alias(version.name, alias)
        known = place.standing.current if isinstance(expected, str) else expected
        place.move(version.version, expected=known)
        newest = self._find(version.name, CHALLENGER)
        if newest is not None and newest.version == version.version:
            self._client.delete_registered_model_alias(version.name, CHALLENGER)

    def challenge(self, version: Version) -> None:
        """Call a version the challenger: the newest that has not got the alias."""
        number = str(version.version)
        self._client.set_registered_model_alias(version.name, CHALLENGER, number)

    def roll_back(
        self, name: str, alias: str, steps: int = 1
    ) -> tuple[Version, Version, str | None]:
        """Give the alias back to the version that had it `steps` before.

        Returns the version that had it, the one that has it now, and what somebody did by hand.
        Raises RegistryError if there is no such alias or nothing to go back to.
        """
        place = self._alias(name, alias)
        self.at(name, alias)
        left, now, note = place.back(steps)
        return self.version(name, str(left)), self.version(name, str(now)), note

    def _alias(self, name: str, alias: str) -> Alias:
        try:
            check_alias(alias)
        except ValueError as error:
            raise RegistryError(f"alias {alias}: {error}") from None
        return Alias(self._client, name, alias)
