"""The catalogue's tables: create and upgrade them, and swap in replacement tables.

Statements name their tables `{images}`, `{embeddings}` and `{tombstones}`, so that they work on the live and the replacement
tables.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from contracts.errors import MapSeekError
from infra.sqlite.connection import transaction

CATALOGUE_APPLICATION_ID = 0x4D415053
"""The letters MAPS. The command `file` shows them, and they tell our file from the database of another program."""

TABLES = ("images", "embeddings", "tombstones")
REPLACEMENT_SUFFIX = "_beside"
"""Suffix of the replacement tables, which are filled while the live tables are in use."""

_BLOBS = {"original": "$.original.blob", "pixels": "$.media.pixels", "thumbnail": "$.media.thumbnail"}


def _first(tables: str, indexes: str) -> tuple[str, ...]:
    return (
        f"""CREATE TABLE images{tables} (
        image_id TEXT PRIMARY KEY,
        document TEXT NOT NULL,
        guild_id TEXT GENERATED ALWAYS AS (json_extract(document, '$.metadata.guild_id')) VIRTUAL
    )""",
        f"CREATE INDEX images_by_guild{indexes} ON images{tables} (guild_id, image_id)",
        f"""CREATE TABLE embeddings{tables} (
        image_id TEXT NOT NULL,
        generation TEXT NOT NULL,
        vector BLOB NOT NULL,
        PRIMARY KEY (image_id, generation)
    )""",
        f"CREATE TABLE tombstones{tables} (image_id TEXT PRIMARY KEY) WITHOUT ROWID",
        f"PRAGMA application_id = {CATALOGUE_APPLICATION_ID}",
    )


def _second(tables: str, indexes: str) -> tuple[str, ...]:
    return _named(_BLOBS, tables, indexes)


def _third(tables: str, indexes: str) -> tuple[str, ...]:
    return _named({"fingerprint": "$.fingerprint.blob"}, tables, indexes)


def _named(blobs: Mapping[str, str], tables: str, indexes: str) -> tuple[str, ...]:
    """Build the statements that add an indexed column for each blob, taken from that path of the document."""
    return tuple(
        statement
        for column, path in blobs.items()
        for statement in (
            f"ALTER TABLE images{tables} ADD COLUMN {column} TEXT GENERATED ALWAYS AS (json_extract(document, '{path}')) VIRTUAL",
            f"CREATE INDEX images_by_{column}{indexes} ON images{tables} ({column})",
        )
    )


_STEPS = (_first, _second, _third)
"""The statements from each schema version to the next. Arguments: the suffixes of the tables and of the indexes."""

SCHEMA_VERSION = len(_STEPS)


def ensure_schema(database: sqlite3.Connection, path: Path, timeout_s: float) -> None:
    """Create the tables in a new file, or upgrade those of an older one. Wait at most `timeout_s` for other processes that do so.

    Raises MapSeekError if the file belongs to another program or to a newer version.
    """
    with transaction(database):
        (objects,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        (application,) = database.execute("PRAGMA application_id").fetchone()
        (version,) = database.execute("PRAGMA user_version").fetchone()
        ours = objects == 0 or application == CATALOGUE_APPLICATION_ID
        if ours and version < SCHEMA_VERSION:
            for statement in _statements(
                _STEPS[version:], indexes=REPLACEMENT_SUFFIX if _has(database, f"images_by_guild{REPLACEMENT_SUFFIX}") else ""
            ):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    if not ours:
        raise MapSeekError(f"{path} is the database of another program: move it away or choose another data folder.")
    if version > SCHEMA_VERSION:
        raise MapSeekError(
            f"{path} has catalogue schema {version}, but this MapSeek reads {SCHEMA_VERSION}: use the matching version, "
            "or delete the file and rebuild it from the log."
        )
    _keep_write_ahead_log(database, timeout_s)


def create_replacement_tables(database: sqlite3.Connection) -> None:
    """Create empty replacement tables; earlier ones are dropped. Call it in a transaction.

    SQLite cannot rename an index. So the suffix of the index names alternates between the two sets of tables.
    """
    drop_replacement_tables(database)
    for statement in _statements(_STEPS, REPLACEMENT_SUFFIX, REPLACEMENT_SUFFIX if _has(database, "images_by_guild") else ""):
        database.execute(statement)


def drop_replacement_tables(database: sqlite3.Connection) -> None:
    """Drop the replacement tables, if there are any. Call it in a transaction."""
    for table in TABLES:
        database.execute(f"DROP TABLE IF EXISTS {table}{REPLACEMENT_SUFFIX}")


def swap_in_replacement_tables(database: sqlite3.Connection) -> None:
    """Replace the live tables with the replacement tables. Call it in a transaction."""
    for table in TABLES:
        database.execute(f"DROP TABLE {table}")
        database.execute(f"ALTER TABLE {table}{REPLACEMENT_SUFFIX} RENAME TO {table}")


def has_replacement_tables(database: sqlite3.Connection) -> bool:
    """Whether there are replacement tables."""
    return _has(database, f"{TABLES[0]}{REPLACEMENT_SUFFIX}")


def _has(database: sqlite3.Connection, name: str) -> bool:
    return database.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (name,)).fetchone() is not None


def _statements(steps: Iterable[Callable[[str, str], Iterable[str]]], tables: str = "", indexes: str = "") -> Iterator[str]:
    for step in steps:
        yield from step(tables, indexes)


def _keep_write_ahead_log(database: sqlite3.Connection, timeout_s: float) -> None:
    """Switch to a write-ahead log, so that one process can write while others read. The file remembers this.

    SQLite's busy timeout does not cover the switch: it fails at once while another process opens the file.
    """
    busy = retry_if_exception(lambda error: getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY)
    for attempt in Retrying(retry=busy, wait=wait_random(0.01, 0.05), stop=stop_after_delay(timeout_s), reraise=True):
        with attempt:
            database.execute("PRAGMA journal_mode = WAL")


class Statements:
    """Fills the table names with this suffix into statements."""

    def __init__(self, ending: str = "") -> None:
        self._names = {table: f"{table}{ending}" for table in TABLES}

    def __call__(self, statement: str) -> str:
        """Return the statement with the table names filled in. All other braces must be doubled."""
        return statement.format(**self._names)
