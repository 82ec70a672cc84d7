"""From a student and its evaluation to a version and a verdict."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wd.config import DecodingConfig, RegistryConfig
from wd.decoding.engine import Translator
from wd.errors import RegistryError
from wd.evaluation.quality import score
from wd.registry.aliases import Standing
from wd.registry.evidence import Evidence
from wd.registry.gate import Check, InUse, Verdict, comparison, floors
from wd.registry.lookup import Version, registered_settings
from wd.registry.packaging import ENGINE, portable_settings, saved_model
from wd.registry.smoke import smoke
from wd.registry.versions import Registry, marks_of

IN_USE = "it is the one in use"


@dataclass(frozen=True)
class Candidate:
    """A student that wants to be in use."""

    name: str
    """Of the registered model."""
    artifact: str
    folder: Path
    """Its model directory."""
    decoding: DecodingConfig
    evidence: Evidence
    sources: Sequence[str]
    references: Sequence[str]
    tags: Mapping[str, Any]
    lineage: Mapping[str, str]

    def registered(self, models: Registry, run_id: str) -> Version:
        """Make it a version, or find the one that it is."""
        return models.register(
            self.name,
            self.folder,
            artifact=self.artifact,
            run_id=run_id,
            decoding=self.decoding,
            evidence=self.evidence,
            tags=self.tags,
            lineage=self.lineage,
        )


def judged(
    candidate: Candidate,
    version: Version,
    models: Registry,
    config: RegistryConfig,
    *,
    anew: bool = False,
) -> tuple[Verdict, Standing]:
    """Ask a registered version's rules; return the verdict and whom it was compared with.

    With `anew` the version in use translates the candidate's test set first.
    """
    standing = models.standing(candidate.name, config.alias)
    evidence = models.evidence(version) or candidate.evidence
    checks = [
        *floors(evidence, config),
        *_compared(candidate, version, models, config, standing, anew),
        _smoke(candidate, models.uri, version.uri, config),
    ]
    return Verdict(tuple(checks), _notes(standing)), standing


def foreseen(
    candidate: Candidate, models: Registry | None, config: RegistryConfig, *, anew: bool = False
) -> tuple[Verdict, Standing]:
    """Do as `judged` without registering anything; without a registry nobody is in use."""
    standing = _standing(candidate, models, config)
    with saved_model(candidate.folder, candidate.decoding, candidate.evidence) as folder:
        size = (Path(folder) / "artifacts" / ENGINE / "model.bin").stat().st_size / 1e6
        evidence = candidate.evidence.model_copy(update={"megabytes": size})
        checks = [
            *floors(evidence, config),
            *(_compared(candidate, None, models, config, standing, anew) if models else ()),
            _smoke(candidate, "", folder, config),
        ]
    return Verdict(tuple(checks), _notes(standing)), standing


def _standing(candidate: Candidate, models: Registry | None, config: RegistryConfig) -> Standing:
    if models is None or not models.has(candidate.name):
        return Standing(None, (), None)
    models.check_languages(candidate.name, candidate.evidence.languages)
    return models.standing(candidate.name, config.alias)


def _notes(standing: Standing) -> tuple[str, ...]:
    return tuple(filter(None, [standing.note]))


def _compared(
    candidate: Candidate,
    version: Version | None,
    models: Registry,
    config: RegistryConfig,
    standing: Standing,
    anew: bool,
) -> Iterator[Check]:
    if standing.current is None:
        yield Check("no worse than the one in use", True, f"no version is {config.alias} yet")
        return
    holder = models.version(candidate.name, str(standing.current))
    marks = marks_of(candidate.artifact, candidate.evidence)
    same = marks.items() <= holder.tags.items()
    if same if version is None else version.version == holder.version:
        yield Check("no worse than the one in use", True, IN_USE)
        return
    evidence = models.evidence(holder)
    if anew:
        evidence = _evaluated_anew(models, holder, candidate)
    in_use = InUse(f"{config.alias}, version {holder.version}", evidence)
    yield from comparison(candidate.evidence, in_use, candidate.references, config.gate)


def _evaluated_anew(models: Registry, holder: Version, candidate: Candidate) -> Evidence:
    """Let the version in use translate the candidate's test set, by its own settings."""
    own = candidate.evidence
    pair = holder.tags.get("wd.languages", own.languages)
    if pair != own.languages:
        raise RegistryError(f"{holder.uri} translates {pair}, this student {own.languages}")
    folder = models.resolve(holder.uri)
    settings = DecodingConfig.model_validate(
        portable_settings(DecodingConfig()) | registered_settings(folder)
    )
    translator = Translator.from_directory(folder, quantization=settings.quantization)
    texts = [found.text for found in translator.translate(candidate.sources, settings)]
    quality = score(texts, candidate.references, own.target_language)
    return own.model_copy(update={**quality.model_dump(), "hypotheses": tuple(texts)})


def _smoke(candidate: Candidate, address: str, uri: str, config: RegistryConfig) -> Check:
    count = config.gate.smoke_sentences
    expected = candidate.evidence.hypotheses[:count]
    return smoke(address, uri, candidate.sources[:count], expected)
