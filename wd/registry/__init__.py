"""MLflow's model registry: a student becomes a version, a gate says which one is in use."""

from wd.errors import RegistryError
from wd.registry.aliases import Standing
from wd.registry.evidence import Evidence, digest_of_test_set, evidence_of
from wd.registry.gate import Check, Verdict
from wd.registry.judging import IN_USE, Candidate, foreseen, judged
from wd.registry.lookup import (
    Version,
    registered_artifacts,
    registered_settings,
    registry_address,
    resolve,
)
from wd.registry.versions import Registry

__all__ = [
    "IN_USE",
    "Candidate",
    "Check",
    "Evidence",
    "Registry",
    "RegistryError",
    "Standing",
    "Verdict",
    "Version",
    "digest_of_test_set",
    "evidence_of",
    "foreseen",
    "judged",
    "registered_artifacts",
    "registered_settings",
    "registry_address",
    "resolve",
]
