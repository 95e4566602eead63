"""The log that the first release wrote, beside a simulated Discord.

Ten pictures were posted, of which one is a repost, one is broken and one could not be fetched, and three questions were asked.
`tests/golden/log` has the entries, the streams and consumers as they were, and the blobs that the entries of IMAGES name.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from nats.aio.client import Client
from nats.js.api import ConsumerConfig, StreamConfig

from contracts.ports import BlobStore

FOLDER = Path(__file__).parents[1] / "golden" / "log"


@dataclass(frozen=True)
class Line:
    """One entry of it."""

    stream: str
    sequence: int
    subject: str
    headers: dict[str, str]
    body: bytes


def lines() -> Iterator[Line]:
    """All of it, stream by stream, in order."""
    for line in (FOLDER / "entries.jsonl").read_bytes().splitlines():
        entry: dict[str, Any] = orjson.loads(line)
        yield Line(**{**entry, "body": entry["body"].encode()})


async def load(client: Client, blobs: BlobStore) -> None:
    """Make an empty server what the first release left behind: the log, and every stage through with it."""
    js = client.jetstream()
    streams = orjson.loads((FOLDER / "streams.json").read_bytes())
    for stream in streams.values():
        await js.add_stream(StreamConfig.from_response(dict(stream["config"])))
    for line in lines():
        headers = {name: value for name, value in line.headers.items() if not name.startswith("Nats-")}
        recorded = await js.publish(line.subject, line.body, stream=line.stream, headers=headers)
        assert recorded.seq == line.sequence
    for name, stream in streams.items():
        for consumer in stream["consumers"]:
            config = ConsumerConfig.from_response(dict(consumer["config"]))
            await js.add_consumer(name, config)
            await js.reset_consumer(name, str(config.durable_name), consumer["ack_floor"] + 1)
    for file in (FOLDER / "blobs").iterdir():
        assert await blobs.put(file.read_bytes()) == file.name
