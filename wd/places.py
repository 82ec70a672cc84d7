"""Where things lie: a root, which is a folder or an address, and this user's cache."""

import os
from pathlib import Path

import pyarrow.fs as pafs

from wd.errors import ArtifactError


def local_folder(root: str) -> Path:
    """Return where a root's folder is, or would be; raises ArtifactError if none can be there."""
    try:
        folder = Path(root).expanduser().absolute()
        folder.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # it can be made, or what makes it will tell
    except (RuntimeError, ValueError, OSError) as error:  # ~nobody, NUL, too long a name
        why = getattr(error, "strerror", None) or error
        shown = root if len(root) <= 100 else f"{root[:100]}..."
        raise ArtifactError(f"root {shown!r}: no folder can be there: {why}") from None
    return folder


def filesystem_of(root: str) -> tuple[pafs.FileSystem, str]:
    """Return a root's file system and its path there; raises ArtifactError if it is no address."""
    try:
        filesystem, base = pafs.FileSystem.from_uri(root)
    except (ValueError, OSError) as error:
        raise ArtifactError(f"root {root}: not a folder or a storage address: {error}") from None
    return filesystem, base.rstrip("/")


def cache_folder() -> Path:
    """Return this user's folder for what can be fetched again."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "weight-distillation"
