"""The catalogue's tables, and how a file is recognised as ours."""

import sqlite3
from itertools import chain
from pathlib import Path

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from contracts.errors import MapSeekError
from infra.sqlite.connection import transaction

APPLICATION_ID = 0x4D415053
"""The letters MAPS: `file` shows it, and a database of another program is not mistaken for ours."""

_FIRST = (
    """CREATE TABLE images (
        image_id TEXT PRIMARY KEY,
        document TEXT NOT NULL,
        guild_id TEXT GENERATED ALWAYS AS (json_extract(document, '$.metadata.guild_id')) VIRTUAL
    )""",
    "CREATE INDEX images_by_guild ON images (guild_id, image_id)",
    """CREATE TABLE embeddings (
        image_id TEXT NOT NULL,
        generation TEXT NOT NULL,
        vector BLOB NOT NULL,
        PRIMARY KEY (image_id, generation)
    )""",
    "CREATE TABLE tombstones (image_id TEXT PRIMARY KEY) WITHOUT ROWID",
    f"PRAGMA application_id = {APPLICATION_ID}",
)
_BLOBS = {"original": "$.original.blob", "pixels": "$.media.pixels", "thumbnail": "$.media.thumbnail"}
_SECOND = tuple(
    statement
    for column, path in _BLOBS.items()
    for statement in (
        f"ALTER TABLE images ADD COLUMN {column} TEXT GENERATED ALWAYS AS (json_extract(document, '{path}')) VIRTUAL",
        f"CREATE INDEX images_by_{column} ON images ({column})",
    )
)
_STEPS = (_FIRST, _SECOND)
"""What makes each version of the tables out of the one before."""

VERSION = len(_STEPS)


def ensure_schema(database: sqlite3.Connection, path: Path, patience: float) -> None:
    """Make the tables of a new file, or of an older one what they are now, waiting `patience` seconds at most for others that do.

    Raises MapSeekError for a file that is not ours or of a newer version.
    """
    with transaction(database):
        (objects,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        (application,) = database.execute("PRAGMA application_id").fetchone()
        (version,) = database.execute("PRAGMA user_version").fetchone()
        ours = objects == 0 or application == APPLICATION_ID
        if ours and version < VERSION:
            for statement in (*chain(*_STEPS[version:]), f"PRAGMA user_version = {VERSION}"):
                database.execute(statement)
    if not ours:
        raise MapSeekError(f"{path} is the database of another program: move it away or choose another data folder.")
    if version > VERSION:
        raise MapSeekError(
            f"{path} has catalogue schema {version}, but this MapSeek reads {VERSION}: use the matching version, "
            "or delete the file and rebuild it from the log."
        )
    _keep_write_ahead_log(database, patience)


def _keep_write_ahead_log(database: sqlite3.Connection, patience: float) -> None:
    """Readers and other processes go on while one writes; the file remembers it.

    SQLite's busy timeout does not cover this switch: it fails at once while another process is opening the file.
    """
    busy = retry_if_exception(lambda error: getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY)
    for attempt in Retrying(retry=busy, wait=wait_random(0.01, 0.05), stop=stop_after_delay(patience), reraise=True):
        with attempt:
            database.execute("PRAGMA journal_mode = WAL")
