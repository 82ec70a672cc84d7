"""Where things lie: a root, which is a folder or an address, and this user's cache."""

import os
import platform
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import pyarrow.fs as pafs

from wd.errors import ArtifactError

_ATTEMPTS = 10
"""So often a request is made of a store that is busy, over a minute or two."""
_ADVICE = {
    "NO_SUCH_BUCKET": "make the bucket, or correct the address",
    "NETWORK_CONNECTION": "is the store running, and the address right?",
    "ACCESS_DENIED": "check the credentials of this machine and what they allow",
    "INVALID_ACCESS_KEY_ID": "check the credentials of this machine (AWS_ACCESS_KEY_ID ...)",
    "SIGNATURE": "check the credentials of this machine (AWS_SECRET_ACCESS_KEY ...)",
}
"""What a store says -> what to do."""


class Place(Protocol):
    """A file or a folder that has a path on whichever node asks for it, by `Path(place)`.

    A `Path` is one, which all nodes see; what lies in a store is fetched when it is asked for.
    """

    @property
    def name(self) -> str:
        """The last part of where it lies."""

    def __truediv__(self, name: str, /) -> "Place":
        """Return a file or a folder below it."""

    def __fspath__(self) -> str:
        """Return the path on this node."""


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


@cache
def filesystem_of(root: str) -> tuple[pafs.FileSystem, str]:
    """Return a root's file system and its path there.

    Raises ArtifactError if it is no address, or one of a store that does not answer or does not
    let us in.
    """
    try:
        filesystem, base = pafs.FileSystem.from_uri(root)
        if not isinstance(filesystem, pafs.LocalFileSystem):
            _check_bucket(filesystem, base.rstrip("/"), root)
    except ValueError as error:
        raise ArtifactError(f"root {root}: not a folder or a storage address: {error}") from None
    except OSError as error:
        raise refused(root, error) from None
    return _patient(filesystem), base.rstrip("/")


def refused(root: str, error: OSError) -> ArtifactError:
    """Return what to raise where a store did not do what it was asked for."""
    told = str(error).splitlines()[0]
    advice = next((what for sign, what in _ADVICE.items() if sign in told), "")
    return ArtifactError(": ".join(filter(None, [f"root {shown(root)}", told, advice])))


def shown(root: str) -> str:
    """Return an address without what is secret in it."""
    parts = urlsplit(root)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.netloc else root


def unseen(folder: PathLike[str]) -> str:
    """Return what to tell where this node does not see a folder of the artifacts."""
    return (
        f"{platform.node()} has no {folder}: put root on a file system that all nodes share, or "
        "let it be an object store's address, s3://BUCKET/PREFIX"
    )


def below(root: str, name: str) -> str:
    """Return the address of something below a root, whose query stays at the end."""
    address, mark, query = root.partition("?")
    return f"{address.rstrip('/')}/{name}{mark}{query}"


def cache_folder() -> Path:
    """Return this user's folder for what can be fetched again."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "weight-distillation"


def _check_bucket(filesystem: pafs.FileSystem, base: str, root: str) -> None:
    """Raise what the store raises, and ArtifactError if it has no such bucket."""
    if filesystem.get_file_info(base).type != pafs.FileType.NotFound:
        return
    bucket = base.partition("/")[0]
    if filesystem.get_file_info(bucket).type == pafs.FileType.NotFound:
        raise ArtifactError(
            f"root {shown(root)}: there is no {bucket}: {_ADVICE['NO_SUCH_BUCKET']}"
        )


def _patient(filesystem: pafs.FileSystem) -> pafs.FileSystem:
    """Return the same file system, which asks a busy store more often than by default.

    It sends what is small in one request instead of three.
    """
    if filesystem.type_name != "s3":
        return filesystem
    settings = filesystem.__reduce__()[1][0]  # what pickles it: an address says no attempts
    retrying = pafs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS)
    settings["allow_delayed_open"] = True
    return pafs.S3FileSystem(**settings, retry_strategy=retrying)
