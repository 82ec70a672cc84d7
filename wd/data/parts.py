"""Reading part files, of which one may be damaged."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from wd.errors import ArtifactError


@contextmanager
def whole_part(path: PathLike[str]) -> Iterator[None]:
    """Raise ArtifactError where what is read of a part meanwhile is not there or damaged."""
    try:
        yield
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such part; run the stage that makes it again") from None
    except (OSError, pa.ArrowException) as error:
        why = " ".join(str(error).split())
        raise ArtifactError(f"{path}: not a whole Parquet file: {why}") from None


def open_part(path: Path) -> pq.ParquetFile:
    """Open a part, to be read within `whole_part`; raises ArtifactError as that does."""
    with whole_part(path):
        return pq.ParquetFile(path)


def read_part(path: PathLike[str], columns: Sequence[str] | None = None) -> pa.Table:
    """Return these columns of a part, or all; raises ArtifactError as `whole_part` does."""
    with whole_part(path):
        return pq.read_table(Path(path), columns=columns and list(columns))
