"""MLflow's model registry: a student becomes a version, an alias names the one in use."""

from wd.errors import RegistryError
from wd.registry.versions import Registry, Version, resolve

__all__ = ["Registry", "RegistryError", "Version", "resolve"]
