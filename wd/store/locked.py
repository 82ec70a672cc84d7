"""A file's lock, for the processes of one machine or of machines that share its folder."""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from wd.errors import ArtifactError

_LOG = logging.getLogger(__name__)
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file that is called after what is made; whoever waits for it is told.

    Raises ArtifactError where files cannot be locked: a marker in their stead, such as filelock can
    make, would outlive its maker and be in everybody's way.
    """
    lock = FileLock(path, fallback_to_soft=False)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _LOG.warning("waiting for another process, which makes %s", path.name)
            lock.acquire()
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise ArtifactError(
            f"{path.parent}: this file system locks no files; let it, as Lustre by mount -o flock, "
            "or take another root"
        ) from None
    try:
        yield
    finally:
        lock.release()
