"""The catalogue in one SQLite file: a JSON document for each image, vectors by generation, and tombstones."""

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from contracts.errors import MapSeekError
from contracts.ports import Catalogue, CatalogueEntry, CatalogueRecord, Document, is_hidden
from infra.sqlite.connection import SqliteConnection, is_outage, open_connection
from infra.sqlite.schema import (
    REPLACEMENT_SUFFIX,
    Statements,
    create_replacement_tables,
    drop_replacement_tables,
    ensure_schema,
    has_replacement_tables,
    swap_in_replacement_tables,
)
from infra.sqlite.writer import Writer

RECORDS_PER_PAGE = 500

_KEPT = """
SELECT image_id, document, 0 FROM {images} WHERE image_id > ?1
UNION ALL SELECT image_id, '{{}}', 1 FROM {tombstones} WHERE image_id > ?1
ORDER BY image_id LIMIT ?2
"""
_VECTORS = "SELECT image_id, generation, vector FROM {embeddings} WHERE image_id BETWEEN ? AND ?"

_TOMBSTONE = "SELECT 1 FROM {tombstones} WHERE image_id = ?"
_DOCUMENT = "SELECT document FROM {images} WHERE image_id = ?"
_SET = "INSERT INTO {images} (image_id, document) VALUES (?, ?) ON CONFLICT DO UPDATE SET document = excluded.document"
_MAKE = "INSERT INTO {images} (image_id, document) VALUES (?, '{{}}') ON CONFLICT DO NOTHING"
_ERASE = ("DELETE FROM {images} WHERE image_id = ?", "DELETE FROM {embeddings} WHERE image_id = ?")
_BURY = "INSERT INTO {tombstones} VALUES (?) ON CONFLICT DO NOTHING"
_OF_FILE = "SELECT image_id, document FROM {images} WHERE original = ? AND +guild_id = ?"
"""A file is in few documents, a guild in many: the plus keeps SQLite from using the index of guilds."""
_USES = "SELECT 1 FROM {images} WHERE original = ?1 OR pixels = ?1 OR thumbnail = ?1 OR fingerprint = ?1 LIMIT 1"


def read_page(database: sqlite3.Connection, statements: Statements, last: str) -> list[CatalogueRecord]:
    """Read the next records after an image id, in one transaction. Empty at the end."""
    database.execute("BEGIN")
    try:
        kept = database.execute(statements(_KEPT), (last, RECORDS_PER_PAGE)).fetchall()
        vectors: dict[str, dict[str, bytes]] = defaultdict(dict)
        if kept:
            for image_id, generation, vector in database.execute(statements(_VECTORS), (kept[0][0], kept[-1][0])):
                vectors[image_id][generation] = vector
    finally:
        database.execute("COMMIT")
    return [
        CatalogueRecord(image_id, orjson.loads(document), vectors.get(image_id, {}), bool(removed))
        for image_id, document, removed in kept
    ]


async def open_sqlite_catalogue(path: Path, *, busy_timeout_s: float = 3.0) -> "SqliteCatalogue":
    """Open the catalogue file, or create it. `busy_timeout_s` is how long a call waits for a lock of another process.

    Raises MapSeekError if the folder cannot be written, or if the file is not a catalogue of this version.
    """
    return await asyncio.to_thread(_open, path, busy_timeout_s)


def _open(path: Path, busy_timeout_s: float) -> "SqliteCatalogue":
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(open_connection(path, busy_timeout_s)) as database:
            ensure_schema(database, path, busy_timeout_s)
        return SqliteCatalogue(path, busy_timeout_s)
    except OSError as error:
        raise MapSeekError(f"The folder {path.parent} cannot be created ({error.strerror}): choose another data folder.") from error
    except sqlite3.Error as error:
        if not is_outage(error):
            raise
        raise MapSeekError(
            f"The catalogue {path} cannot be opened ({error}): check that its folder is writable, that no other program uses it "
            "and that it is a MapSeek catalogue."
        ) from error


class SqliteCatalogue:
    """Catalogue on SQLite. One thread writes and one reads, so that answers do not wait for archiving.

    A replacement made by `create_replacement` is in the same file, in tables whose names have a suffix.
    """

    def __init__(self, path: Path, busy_timeout_s: float, ending: str = "") -> None:
        self._path = path
        self._busy_timeout = busy_timeout_s
        self._ending = ending
        self._sql = Statements(ending)
        self._writer = Writer(path, busy_timeout_s)
        self._reader = SqliteConnection(path, busy_timeout_s, "catalogue-reader")

    async def merge(self, image_id: str, fields: Document, *, unless: Callable[[Document], bool] | None = None) -> bool:
        def patch(database: sqlite3.Connection) -> None:
            row = database.execute(self._sql(_DOCUMENT), (image_id,)).fetchone()
            document = orjson.loads(row[0]) if row else {}
            if unless is None or not unless(document):
                database.execute(self._sql(_SET), (image_id, orjson.dumps(document | dict(fields)).decode()))

        return await self._write_unless_removed(image_id, patch)

    async def put_vector(self, image_id: str, generation: str, vector: bytes) -> None:
        def put(database: sqlite3.Connection) -> None:
            database.execute(self._sql(_MAKE), (image_id,))
            database.execute(self._sql("INSERT OR REPLACE INTO {embeddings} VALUES (?, ?, ?)"), (image_id, generation, vector))

        await self._write_unless_removed(image_id, put)

    async def vector(self, image_id: str, generation: str) -> bytes | None:
        query = "SELECT vector FROM {embeddings} WHERE image_id = ? AND generation = ?"
        rows = await self._rows(query, image_id, generation)
        return rows[0][0] if rows else None

    async def remove(self, image_id: str) -> None:
        def erase(database: sqlite3.Connection) -> None:
            database.execute(self._sql(_BURY), (image_id,))
            # A replacement must not keep the image either: it may never be swapped in or deleted.
            places = (self._sql, Statements(REPLACEMENT_SUFFIX)) if has_replacement_tables(database) else (self._sql,)
            for sql in places:
                for statement in _ERASE:
                    database.execute(sql(statement), (image_id,))

        await self._writer.write(erase)

    async def is_removed(self, image_id: str) -> bool:
        return bool(await self._rows(_TOMBSTONE, image_id))

    async def entries(self, image_ids: Collection[str], *, with_hidden: bool = False) -> dict[str, CatalogueEntry]:
        wanted = orjson.dumps(list(image_ids)).decode()
        query = "SELECT image_id, document FROM {images} WHERE image_id IN (SELECT value FROM json_each(?))"
        found = (_entry(image_id, document) for image_id, document in await self._rows(query, wanted))
        return {entry.image_id: entry for entry in found if with_hidden or not is_hidden(entry.document)}

    async def find_file(self, guild_id: str, blob: str) -> dict[str, CatalogueEntry]:
        found = [_entry(image_id, document) for image_id, document in await self._rows(_OF_FILE, blob, guild_id)]
        return {entry.image_id: entry for entry in found if not is_hidden(entry.document)}

    async def scan(self, guild_id: str | None = None) -> AsyncIterator[CatalogueEntry]:
        of_guild, parameters = ("", ()) if guild_id is None else ("guild_id = ? AND", (guild_id,))
        page = f"{of_guild} image_id > ? ORDER BY image_id LIMIT {RECORDS_PER_PAGE}"
        query = f"SELECT image_id, document FROM {{images}} WHERE {page}"  # noqa: S608
        last = ""
        while rows := await self._rows(query, *parameters, last):
            for image_id, document in rows:
                if not is_hidden((entry := _entry(image_id, document)).document):
                    yield entry
            last = rows[-1][0]

    async def contents(self) -> AsyncIterator[CatalogueRecord]:
        last = ""
        while page := await self._reader.run(lambda database, last=last: read_page(database, self._sql, last)):  # type: ignore[misc]
            for kept in page:
                yield kept
            last = page[-1].image_id

    async def count(self, guild_id: str | None = None) -> int:
        of_guild, parameters = ("", ()) if guild_id is None else ("WHERE guild_id = ?", (guild_id,))
        query = f"SELECT count(*) FROM {{images}} {of_guild}"  # noqa: S608
        ((count,),) = await self._rows(query, *parameters)
        return int(count)

    async def uses(self, blob: str) -> bool:
        return bool(await self._rows(_USES, blob))

    async def drop_generation(self, generation: str) -> int:
        dropped = 0

        def drop(database: sqlite3.Connection) -> None:
            nonlocal dropped
            dropped = database.execute(self._sql("DELETE FROM {embeddings} WHERE generation = ?"), (generation,)).rowcount

        await self._writer.write(drop)
        return dropped

    async def clear(self) -> None:
        def empty(database: sqlite3.Connection) -> None:
            for table in ("{images}", "{embeddings}", "{tombstones}"):
                database.execute(self._sql(f"DELETE FROM {table}"))  # noqa: S608

        await self._writer.write(empty)

    async def create_replacement(self) -> "SqliteCatalogue":
        await self._writer.write(create_replacement_tables)
        return await asyncio.to_thread(SqliteCatalogue, self._path, self._busy_timeout, REPLACEMENT_SUFFIX)

    async def replace_with(self, other: Catalogue) -> None:
        if not isinstance(other, SqliteCatalogue) or not other._ending:
            raise TypeError("only a catalogue from create_replacement can replace another one")
        await self._writer.write(swap_in_replacement_tables)

    async def ping(self) -> None:
        await self._writer.write(lambda _: None)

    async def close(self) -> None:
        """Wait for the running work, then close. A replacement that was not swapped in is deleted."""
        try:
            if self._ending:
                await self._writer.write(drop_replacement_tables)
        finally:
            await self._reader.close()
            await self._writer.close()

    async def _rows(self, query: str, *parameters: str) -> list[tuple[Any, ...]]:
        return await self._reader.run(lambda database: database.execute(self._sql(query), parameters).fetchall())

    async def _write_unless_removed(self, image_id: str, work: Callable[[sqlite3.Connection], None]) -> bool:
        """Run `work` in a transaction unless the image is removed. Return False if it is removed."""
        there = False

        def unless_removed(database: sqlite3.Connection) -> None:
            nonlocal there
            there = database.execute(self._sql(_TOMBSTONE), (image_id,)).fetchone() is None
            if there:
                work(database)

        await self._writer.write(unless_removed)
        return there


def _entry(image_id: str, document: str) -> CatalogueEntry:
    return CatalogueEntry(image_id=image_id, document=orjson.loads(document))
