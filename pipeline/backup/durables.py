"""Where the stages stand in the logs, so that after a restore they go on there instead of doing all of it again."""

import sqlite3

import orjson
from nats.aio.client import Client
from nats.js.api import ConsumerConfig

from contracts.subjects import RETRIES
from infra.nats.consumers import consumers_of
from pipeline.backup.places import Places


async def note_durables(database: sqlite3.Connection, client: Client, streams: list[str]) -> None:
    """Put every durable consumer of these logs into the archive, in place of those that were there."""
    database.execute("DELETE FROM durables")
    for stream in streams:
        if stream == RETRIES:  # what is done there is deleted, so its consumers have no place to remember
            continue
        for info in await consumers_of(client.jetstream(), stream):
            if info.config.durable_name:
                config = {name: value for name, value in info.config.as_dict().items() if name != "metadata"}
                floor = info.ack_floor.stream_seq if info.ack_floor else 0
                row = (stream, info.config.durable_name, orjson.dumps(config).decode(), floor)
                database.execute("INSERT INTO durables VALUES (?, ?, ?, ?)", row)


async def restore_durables(database: sqlite3.Connection, client: Client, places: Places) -> None:
    """Make the consumers behind the same entries of the new log. One that is there is only put in its place."""
    js = client.jetstream()
    for stream, name, noted, floor in database.execute("SELECT stream, name, config, floor FROM durables").fetchall():
        config = ConsumerConfig.from_response(orjson.loads(noted))
        if config.opt_start_seq:
            config = config.evolve(opt_start_seq=places.up_to(stream, config.opt_start_seq - 1) + 1)
        await js.add_consumer(stream, config)
        if place := places.up_to(stream, floor):
            await js.reset_consumer(stream, name, place + 1)
