"""MLflow's model registry: a student becomes a version, an alias names the one in use."""

from wd.registry.versions import Registry, RegistryError, Version, resolve

__all__ = ["Registry", "RegistryError", "Version", "resolve"]
