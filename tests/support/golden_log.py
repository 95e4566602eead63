"""A log as this code wrote it, kept as data: whatever comes later must be able to go on with it.

Twelve pictures were posted to a simulated Discord: eight pieces, two reposts, a file that is no picture and one that the CDN never
gave. Three questions were asked. `tests/golden/log` has the entries, the streams and consumers as they were at the end, and the
blobs that the entries of IMAGES name.

`python -m tests.support.golden_log` plays it once more and writes the log anew. Do that when a release is made: from then on
tests/e2e/test_golden_log.py proves that what follows goes on with the log of that release.
"""

import asyncio
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from nats.aio.client import Client
from nats.js.api import ConsumerConfig, StreamConfig

from contracts.events import ImageReposted, SearchAnswered
from contracts.ports import BlobStore
from contracts.subjects import IMAGES, STREAM_SUBJECTS
from infra.nats.consumers import copy_durables
from infra.nats.reader import read
from infra.sandbox.art.generate import piece
from infra.sandbox.simulator import Status
from infra.vision.distortions import crop, jpeg
from pipeline.engine.dead_letters import without_servers
from pipeline.logging import configure_logging
from stages.erase import blobs_of
from tests.support.archives import everything
from tests.support.world import World, art, mapseek_beside, simulated_discord

FOLDER = Path(__file__).parents[1] / "golden" / "log"

PIECES = (74, 105, 117, 148, 273, 325, 458, 497)
"""Their fingerprints are small: pieces of one map with little in them."""

REPOSTED = (117, 325)
STRANGER = 213


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


def streams() -> dict[str, Any]:
    """The streams by name, each with its consumers."""
    found: dict[str, Any] = orjson.loads((FOLDER / "streams.json").read_bytes())
    return found


async def load(client: Client, blobs: BlobStore) -> None:
    """Make an empty server what was left behind: the log, and every stage through with it."""
    js = client.jetstream()
    for stream in streams().values():
        await js.add_stream(StreamConfig.from_response(dict(stream["config"])))
    for line in lines():
        recorded = await js.publish(line.subject, line.body, stream=line.stream, headers=line.headers)
        assert recorded.seq == line.sequence
    for name, stream in streams().items():
        for consumer in stream["consumers"]:
            config = ConsumerConfig.from_response(dict(consumer["config"]))
            await js.add_consumer(name, config)
            if consumer["ack_floor"]:
                await js.reset_consumer(name, str(config.durable_name), consumer["ack_floor"] + 1)
    for file in (FOLDER / "blobs").iterdir():
        assert await blobs.put(file.read_bytes()) == file.name


async def play(world: World) -> None:
    """What is told of above."""
    discord, log = world.discord, world.log
    discord.simulator.faults.add(Status(503), "*/lost.png", times=None)
    for seed in PIECES:
        await discord.post((f"piece-{seed}.png", art(seed)))
    await world.archived(len(PIECES))
    await discord.post(*((f"again-{seed}.png", art(seed)) for seed in REPOSTED), author=discord.alex)
    await discord.post(("broken.png", b"this is no picture"), ("lost.png", art(STRANGER)))
    await log.dead_letters(1)
    await world.archived(len(PIECES) + len(REPOSTED) + 2)
    assert await log.count(ImageReposted) == len(REPOSTED)
    screenshot = jpeg(crop(piece(PIECES[0]), 0.1), 80)
    for number, question in enumerate((art(PIECES[1]), screenshot, art(STRANGER)), start=1):
        await discord.ask(question)
        await log.holds(SearchAnswered, number)
    await log.quiet("search")


async def write() -> None:
    """Play it, and put what it leaves in the place of the log that is kept."""
    with tempfile.TemporaryDirectory() as scratch:
        async with simulated_discord() as discord, mapseek_beside(discord, Path(scratch) / "data") as world:
            await play(world)
            shutil.rmtree(FOLDER, ignore_errors=True)
            (FOLDER / "blobs").mkdir(parents=True)
            client, blobs = world.process.wiring.client, await world.process.wiring.blobs()
            entries = [_anywhere(entry) async for entry in _entries(client)]
            (FOLDER / "entries.jsonl").write_text("".join(f"{entry}\n" for entry in entries))
            (FOLDER / "streams.json").write_bytes(orjson.dumps(await _streams(client), option=orjson.OPT_APPEND_NEWLINE))
            for name in await _named(client):
                (FOLDER / "blobs" / name).write_bytes(await blobs.get(name))


async def _entries(client: Client) -> AsyncIterator[str]:
    for stream in STREAM_SUBJECTS:
        async for entry in everything(client, stream):
            headers = without_servers(dict(entry.headers or {}))
            about = {"stream": stream, "sequence": entry.seq, "subject": entry.subject, "headers": headers}
            yield orjson.dumps({**about, "body": (entry.data or b"").decode()}).decode()


def _anywhere(entry: str) -> str:
    """An entry without what it says of the machine: where the program lies and runs."""
    here = str(Path(__file__).parents[2])
    for ours, told in ((here, "/srv/mapseek"), (sys.base_prefix, "/usr"), (f"{socket.gethostname()}/{os.getpid()}", "golden/1")):
        entry = entry.replace(ours, told)
    return entry


async def _streams(client: Client) -> dict[str, Any]:
    js, found = client.jetstream(), {}
    for stream in STREAM_SUBJECTS:
        config = (await js.stream_info(stream)).config.as_dict()
        consumers = [{"config": _own(copy.config), "ack_floor": copy.settled} for copy in await copy_durables(client, stream)]
        found[stream] = {"config": _own(config), "consumers": consumers}
    return found


def _own(config: dict[str, Any]) -> dict[str, Any]:
    """Without what the server added, and without what it takes for granted."""
    return {name: value for name, value in config.items() if value and name != "metadata"}


async def _named(client: Client) -> set[str]:
    """The blobs that are named in IMAGES."""
    facts = [read(entry.subject or "", entry.headers, entry.data or b"").fact async for entry in everything(client, IMAGES)]
    return set(blobs_of(facts))


if __name__ == "__main__":
    configure_logging("auto", "error")
    asyncio.run(write())
