"""A folder that is to be new, whole or not there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wd.errors import ArtifactError
from wd.files import whole


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a folder that becomes `out` when it is filled; raises ArtifactError if that exists."""
    if out.exists():
        raise ArtifactError(f"{out}: exists already; name a new folder or remove this one")
    out.parent.mkdir(parents=True, exist_ok=True)
    with whole(out) as partial:
        partial.mkdir()
        yield partial
