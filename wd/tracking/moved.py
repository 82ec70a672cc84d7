"""A root that was moved: MLflow's file in it still says where its files used to be."""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlparse

from wd.errors import TrackingError

FILES = "mlflow-artifacts"
_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Table and column, wherever MLflow keeps the address of a folder."""


def mend_moved_root(uri: str) -> None:
    """Make a database that lies beside its `mlflow-artifacts` name this folder as it is now.

    MLflow records absolute paths only. Servers, and databases of another layout, are left alone.
    Raises TrackingError if the database cannot be read or written.
    """
    database = Path(uri.removeprefix("sqlite:///"))
    files = database.parent / FILES
    if not uri.startswith("sqlite:///") or not database.is_file() or not files.is_dir():
        return
    now = files.absolute().as_uri()
    try:
        with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
            for old in _old_places(connection, now):
                _replace(connection, old, now)
                told = "%s: its files were at %s, now %s: mended"
                logging.getLogger(__name__).info(told, database, old, now)
    except sqlite3.Error as error:
        raise TrackingError(f"tracking.uri {uri}: the database cannot be used: {error}") from None


def _old_places(connection: sqlite3.Connection, now: str) -> list[str]:
    """Return other folders of this name that experiments name."""
    if not _has(connection, "experiments", "artifact_location"):
        return []  # not made yet
    rows = connection.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
    named = {str(place) for (place,) in rows if str(place).endswith(f"/{FILES}")}
    return sorted(place for place in named - {now} if _is_elsewhere(place, now))


def _is_elsewhere(place: str, now: str) -> bool:
    """Whether it is another folder, not this one by another way."""
    old, new = (Path(unquote(urlparse(uri).path)) for uri in (place, now))
    return place.startswith("file:") and not (old.exists() and old.samefile(new))


def _replace(connection: sqlite3.Connection, old: str, now: str) -> None:
    for table, column in _PLACES:
        if _has(connection, table, column):
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (now, len(old) + 1, old, len(old) + 1, f"{old}/"),
            )


def _has(connection: sqlite3.Connection, table: str, column: str) -> bool:
    found = connection.execute(f"PRAGMA table_info({table})").fetchall()
    return column in {row[1] for row in found}
