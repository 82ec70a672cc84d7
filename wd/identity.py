"""What a stage's output is a function of, and the hash that it is found by.

The hash covers the stage's name and version, its own config and its inputs' hashes, so the same
work is never done twice and a promoted model can be traced back to its corpus. Of a config object
the hash sees what differs from its defaults, so that an option added later does not undo finished
work; whoever changes a default raises the versions of the stages that read it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel


@dataclass(frozen=True)
class Identity:
    """What a stage's output is a function of. `hash` is known before the work is done."""

    stage: str
    label: str
    version: int
    config: Mapping[str, Any]
    """Plain data, or pydantic models as its values."""
    inputs: Mapping[str, str]
    """Role -> `stage/label-hash` of the artifact that plays it."""

    @property
    def hash(self) -> str:
        """First 12 hex digits of SHA-256 over everything but the label."""
        covered = {"stage": self.stage, "version": self.version, "config": self._dump(short=True)}
        covered["inputs"] = {role: name.rsplit("-", 1)[-1] for role, name in self.inputs.items()}
        return hashlib.sha256(json.dumps(covered, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """`stage/label-hash`: the artifact's path below the root."""
        return f"{self.stage}/{self.label}-{self.hash}"

    @property
    def described(self) -> dict[str, Any]:
        """All of it as plain data, defaults included: what a manifest says."""
        return {**asdict(self), "config": self._dump(short=False)}

    def _dump(self, short: bool) -> dict[str, Any]:
        return {
            key: value.model_dump(mode="json", exclude_defaults=short)
            if isinstance(value, BaseModel)
            else value
            for key, value in self.config.items()
        }
