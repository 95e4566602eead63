"""Where the stages stand in the logs, so that after a restore they go on there instead of doing all of it again."""

import sqlite3

import orjson

from contracts.subjects import RETRIES
from infra.nats.connection import Client
from infra.nats.consumers import DurableCopy, copy_durables, restore_durable
from pipeline.backup.places import Places


async def note_durables(database: sqlite3.Connection, client: Client, streams: list[str]) -> None:
    """Put every durable consumer of these logs into the archive, in place of those that were there. Raises Unavailable."""
    database.execute("DELETE FROM durables")
    for stream in streams:
        if stream == RETRIES:  # what is done there is deleted, so its consumers have no place to remember
            continue
        for copy in await copy_durables(client, stream):
            row = (stream, copy.name, orjson.dumps(copy.config).decode(), copy.settled)
            database.execute("INSERT INTO durables VALUES (?, ?, ?, ?)", row)


async def restore_durables(database: sqlite3.Connection, client: Client, places: Places) -> None:
    """Make the consumers behind the same entries of the new log. One that is there is only put in its place. Raises Unavailable."""
    for stream, name, noted, floor in database.execute("SELECT stream, name, config, floor FROM durables").fetchall():
        config = orjson.loads(noted)
        if start := config.get("opt_start_seq"):
            config["opt_start_seq"] = places.up_to(stream, start - 1) + 1
        await restore_durable(client, stream, DurableCopy(name, config, places.up_to(stream, floor)))
